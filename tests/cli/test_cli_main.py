"""The command's frame: it answers at once, says what went wrong in one line, and leaves nothing running."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
import pytest

import alphaloop
from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import free_port
from cli import main
from cli.main import VERBS

ROOT = Path(__file__).resolve().parents[2]
# Not pydantic: Typer itself loads it to describe an option.
HEAVY = ("pandas", "numpy", "pyarrow", "sqlalchemy", "torch", "ray", "mlflow", "feast", "kfp", "grpc")

# Runs the command with a verb that does what BODY says.
WITH_VERB = """
import os, signal, subprocess, sys, time
from cli import main
from cli.commands import doctor
def register(app):
    @app.command("doctor")
    def doctor():
        {body}
doctor.register = register
main.main()
"""


def environment(**changes: str) -> dict[str, str]:
    """This environment without what belongs to coverage, to settings and to other tests."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "ALPHALOOP_"))
    }
    return {**kept, "PYTHONSAFEPATH": "1", **changes}


def command(*arguments: str, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """`alphaloop ARGUMENTS` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=cwd, env=environment(**changes), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def verb_that(body: str, cwd: Path) -> subprocess.Popen[str]:
    """Start `alphaloop doctor`, which does what `body` says."""
    return subprocess.Popen(
        [sys.executable, "-c", WITH_VERB.format(body=body), "doctor"],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.fixture
def quiet_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the frame in this process without ending the children of other tests."""
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    """The help of every verb is shown without numpy, pandas or anything heavier."""
    program = (
        "import io, sys\nfrom contextlib import redirect_stdout\nfrom cli import main\n"
        f"for verb in {('', *VERBS)!r}:\n"
        "    with redirect_stdout(io.StringIO()) as shown:\n"
        "        code = main.run_command([verb, '--help'] if verb else ['--help'])\n"
        "    if code or 'Usage' not in shown.getvalue(): sys.exit(verb or 'alphaloop')\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_a_verb_imports_no_other(tmp_path: Path) -> None:
    """Only the module of the verb in front is imported, so that a start stays short as verbs are added."""
    program = (
        "import sys\nfrom cli import main\nmain.run_command(['config', 'check'])\n"
        "print([verb for verb in main.VERBS if f'cli.commands.{verb}' in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert result.stdout.splitlines()[-1] == "['config']", result.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("rollout", "--help"), ("train", "--help")])
def test_help_answers_at_once(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """The best of three takes less of the processor than one heavy import would."""
    taken = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command(*arguments, cwd=tmp_path).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(taken) < 0.75


def test_the_version_is_printed(tmp_path: Path) -> None:
    """`alphaloop --version` prints the version that the installed distribution and the package carry."""
    shown = command("--version", cwd=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, f"alphaloop {alphaloop.__version__}\n")
    assert metadata.version("alphaloop") == alphaloop.__version__


def test_help_lists_the_verbs_in_the_order_of_the_loop(tmp_path: Path) -> None:
    """A newcomer reads demo and doctor first, then data to audit."""
    shown = command("--help", cwd=tmp_path).stdout
    places = [shown.index(f"│ {verb} ") for verb in VERBS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("data", "show", "sp600"), "unknown source 'sp600'; known: alpaca, ccxt"),
        (("data", "show", "--symbols", "APPL"), "unknown symbol 'APPL' in source 'sp500-20'; known: AAPL"),
        (("data", "show", "--from", "yesterday"), "--from 'yesterday' is no date"),
        (("data", "check", "--file", "nowhere.csv"), "nowhere.csv"),
        (("train", "xgbost"), "unknown model family 'xgbost'; known: lightgbm, momentum, transformer"),
        (("models", "list"), "no model is registered"),
        (("serve",), "no model is registered"),
        (("backtest", "equities"), "no model is registered"),
        (("trade", "--broker", "etrade"), "unknown broker 'etrade'; known: paper"),
        (
            ("pipeline", "run", "retrian"),
            "unknown pipeline 'retrian'; known: backfill, evaluation, features, monitoring",
        ),
        (("pipeline", "run", "retrain", "now"), "argument 'now' is not of the form name=value"),
        (("audit", "verify"), "no journal at"),
        (("rollout", "status"), "no registry in"),
        (("rollout", "start", "2", "--kind", "big"), "unknown kind of rollout 'big'"),
        (("rollout", "start", "2", "--rotate-inputs", "1"), "--rotate-inputs is a drill"),
        (("rollout", "start", "2", "--override", "drill"), "has no reason"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet_frame: None,
    arguments: tuple[str, ...], named: str,
) -> None:  # fmt: skip
    """What the caller can mend is named in one line on standard error, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ALPHALOOP_SERVING__GRPC_PORT", str(free_port()))
    for name in ("HTTP_PORT", "METRICS_PORT"):
        monkeypatch.setenv(f"ALPHALOOP_SERVING__{name}", "0")
    code = main.run_command(list(arguments))
    shown = capsys.readouterr()
    assert code == 2, shown.err
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert not any(path.is_file() for path in (tmp_path / "home").rglob("*"))


def test_a_setting_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    """A typo in a variable cannot pass for a default."""
    result = command("data", "show", cwd=tmp_path, ALPHALOOP_SERVING__PORT="9001")
    assert result.returncode == 2
    assert "there is no setting 'serving.port'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_unknown_verb_exits_with_2(tmp_path: Path) -> None:
    """A verb that does not exist is refused with the way to the list."""
    result = command("tarde", cwd=tmp_path)
    assert result.returncode == 2
    assert "tarde" in result.stderr


def test_a_room_shadowed_by_a_folder_is_named(tmp_path: Path) -> None:
    """Started beside a folder called `models`, the command says which path shadows which."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    result = subprocess.run(
        [sys.executable, "-c", "from cli.main import main; main()", "data", "list"],
        cwd=tmp_path, env=environment(PYTHONSAFEPATH=""), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert str(tmp_path / "models") in result.stderr
    assert "shadows" in result.stderr
    assert result.stderr.count("\n") == 1


def test_another_error_keeps_its_traceback(tmp_path: Path) -> None:
    """What nobody expected is shown whole, where it happened."""
    child = verb_that("raise ZeroDivisionError('unforeseen')", tmp_path)
    _, shown = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "Traceback" in shown
    assert "ZeroDivisionError: unforeseen" in shown


def test_a_broken_chain_exits_with_1(tmp_path: Path) -> None:
    """An altered journal is a finding, neither bad input nor a crash."""
    body = "from alphaloop.errors import ChainBrokenError; raise ChainBrokenError('record 7 was altered')"
    child = verb_that(body, tmp_path)
    _, shown = child.communicate(timeout=30)
    assert child.returncode == 1
    assert shown == "alphaloop: record 7 was altered\n"


def test_exit_codes_of_commands_are_kept(tmp_path: Path) -> None:
    """A command's own exit code comes out as it is."""
    child = verb_that("import typer; raise typer.Exit(7)", tmp_path)
    child.communicate(timeout=30)
    assert child.returncode == 7


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_no_process(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and kill end every child and grandchild, and say so in one line at most."""
    body = (
        "subprocess.Popen([sys.executable, '-c', 'import subprocess, time; "
        'subprocess.Popen(["sleep", "300"]); print("up", flush=True); time.sleep(300)\']); time.sleep(300)'
    )
    child = verb_that(body, tmp_path)
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    family = psutil.Process(child.pid).children(recursive=True)
    assert len(family) == 2
    child.send_signal(number)
    _, shown = child.communicate(timeout=30)
    assert child.returncode == code
    expected = "interrupted; everything that was started has been stopped\n" if code == 130 else ""
    assert shown == expected
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_children_left_by_a_command_are_stopped(tmp_path: Path) -> None:
    """A command that ends without stopping its child does not leave it behind."""
    child = verb_that("print(subprocess.Popen(['sleep', '300']).pid)", tmp_path)
    shown, _ = child.communicate(timeout=30)
    assert child.returncode == 0
    deadline = monotonic() + 5
    while psutil.pid_exists(int(shown)) and monotonic() < deadline:
        sleep(0.05)
    assert not psutil.pid_exists(int(shown))
