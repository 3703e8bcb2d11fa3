"""Options before the verb: how much is logged and where to, and completion by the shell."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from alphaloop.runtime.package_roots import PACKAGES
from cli import main
from cli.log_output import open_logs

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR) \d+ [\w.]+: .+")


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)


def test_a_log_file_is_appended_to(capsys: pytest.CaptureFixture[str]) -> None:
    """Each command adds lines with time, level and module; standard error is as without."""
    for verb in ("check", "show"):
        assert main.run_command(["--log-file", "run.log", "config", verb]) == 0
        assert "INFO" not in capsys.readouterr().err
    lines = Path("run.log").read_text().splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    said = [line.partition(": ")[2] for line in lines]
    called = "alphaloop --log-file run.log config"
    assert said == [f"{called} check", "done", f"{called} show", "done"]


def test_a_log_file_names_the_error_that_ended_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The line that the command prints stands in the file too."""
    assert main.run_command(["--log-file", "run.log", "data", "show", "sp600"]) == 2
    said = capsys.readouterr().err.strip().removeprefix("alphaloop: ")
    last = Path("run.log").read_text().splitlines()[-1]
    assert "ERROR" in last
    assert said in last


def test_a_log_file_that_cannot_be_written_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before the verb does anything."""
    assert main.run_command(["--log-file", "nowhere/run.log", "init", "desk"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "alphaloop: --log-file nowhere/run.log cannot be written: No such file or directory; "
        "name a file in a folder of yours"
    )
    assert not Path("desk").exists()


@pytest.mark.parametrize(
    ("options", "shown"),
    [([], ["careful"]), (["-v"], ["done so", "careful"]), (["-vv"], ["detail", "done so", "careful"])],
)
def test_more_is_logged_when_asked_for(
    options: list[str], shown: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Warnings always, information with -v, details with -vv; of our packages, never of vendors'."""
    with open_logs([], len("".join(options).removeprefix("-"))):
        ours, vendor = logging.getLogger("serving.log"), logging.getLogger("ccxt.base")
        ours.debug("detail")
        ours.info("done so")
        ours.warning("careful")
        vendor.info("key=secret")
    printed = capsys.readouterr().err
    found = [word for word in ("detail", "done so", "careful") if f"serving.log: {word}" in printed]
    if options:
        assert found == shown
    assert "secret" not in printed
    assert all(logging.getLogger(name).level == logging.NOTSET for name in PACKAGES)


def test_verbose_is_an_option_before_the_verb(capsys: pytest.CaptureFixture[str]) -> None:
    """With `alphaloop -v` a line of the log says its level and its module."""
    Path("bars").mkdir()
    Path("bars/A.csv").write_text("date,close\n2024-01-02,1\n2024-01-03,1\n")
    Path("bars/notes.txt").touch()
    assert main.run_command(["-v", "data", "show", "folder:bars"]) == 0
    assert "WARNING marketdata.files.folder_source: bars: left out" in capsys.readouterr().err


def bash(program: str, place: Path) -> list[str]:
    """The lines that bash prints where `alphaloop` is this tree's command."""
    place.mkdir(exist_ok=True)
    command = place / "alphaloop"
    command.write_text(f"#!{sys.executable}\nfrom cli.main import main\nmain()\n")
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{place}:{os.environ['PATH']}", "PYTHONSAFEPATH": "1"}
    result = subprocess.run(
        ["bash", "--norc", "-c", program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("alphaloop feat", ["features"]),
        ("alphaloop rollout a", ["abort"]),
        ("alphaloop init --template c", ["crypto"]),
        ("alphaloop completion ", ["bash", "zsh", "fish"]),
        ("alphaloop features build --u", ["--until"]),
    ],
)
def test_bash_completes_verbs_options_and_values(words: str, offered: list[str], tmp_path: Path) -> None:
    """With the printed script sourced, bash's own completion offers what fits."""
    count = words.count(" ")
    program = (
        'eval "$(alphaloop completion bash)"\n'
        f"COMP_WORDS=({words}); COMP_CWORD={count}\n"
        '_alphaloop_completion alphaloop\nprintf "%s\\n" "${COMPREPLY[@]}"'
    )
    assert bash(program, tmp_path / "bin") == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_answered_in_their_form(
    shell: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script names the variable by which it asks, and the answer to it has the verb and its help."""
    assert main.run_command(["completion", shell]) == 0
    assert f"_ALPHALOOP_COMPLETE=complete_{shell}" in capsys.readouterr().out
    monkeypatch.setenv("_ALPHALOOP_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "alphaloop doc")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    assert main.run_command([]) == 0
    answer = capsys.readouterr().out
    assert "doctor" in answer
    assert "Report what is installed" in answer


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and the shells that there are."""
    assert main.run_command(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "alphaloop: unknown shell 'tcsh'; known: bash, fish, zsh\n"
