"""What a clumsy caller writes: each is answered by exit code 2 and one line that says how to go on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cli import main


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder with a space and a letter that is not ASCII, and stop nobody's children."""
    folder = tmp_path / "my wörk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ALPHALOOP_HOME", str(folder / "hö me"))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one line that the command answers with."""
    found = main.run_command(list(arguments))
    shown = capsys.readouterr().err
    assert found == code, shown
    assert shown.count("\n") == 1, shown
    return shown


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("tarde",), "No such command 'tarde'. Did you mean 'trade'? see: alphaloop --help"),
        (("data", "show", "--fo", "2019"), "No such option: --fo"),
        (("data", "stream", "--bars", "x"), "Invalid value for '--bars'"),
        (("data", "list", "all"), "unexpected extra argument"),
        (("audit", "providers"), "Missing argument 'order_id'; see: alphaloop audit providers --help"),
    ],
)
def test_a_wrong_word_of_the_command_line_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    """Verbs, options and values that do not exist are named, with the way to the help."""
    assert named in complaint(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[features]\nset = "rsi(14)"', "'features.set' is 'rsi(14)': it must be a list"),
        ('[data]\nquality = "gap"', "'data.quality' is 'gap': it must be a table"),
        ("[data]\nsource = 3", "'data.source' is 3: it must be text"),
        ("[features]\nwindow = 1000000000000", "'features.window' is 1000000000000"),
        ("[features]\nsets = []", "no setting 'features.sets'; nearest: features.set"),
        ("[features\nset = []", "not valid TOML"),
        ('[features]\nset = ["rsi(14"]', "formula `rsi(14`, column 4: this parenthesis is not closed"),
        ('[features]\nset = ["RSI(14)"]', "did you mean rsi"),
        ('[features.formulas]\ntrend = "close /"', "column 16: the formula ends"),
        ('[features.formulas]\nclose = "open"', "'close' is a word of the language"),
        ('[features.formulas]\nrank = "open"', "'rank' is a word of the language"),
        ('[features.formulas]\nrsi = "open"', "'rsi' is a feature already"),
    ],
)
def test_a_wrong_settings_file_is_one_line(capsys: pytest.CaptureFixture[str], text: str, named: str) -> None:
    """A value of another type, a table that does not end and a formula that cannot be read are named."""
    Path("alphaloop.toml").write_text(text + "\n")
    assert named in complaint(capsys, "features", "list", "--in-use")


def test_a_settings_file_in_another_encoding_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that are no UTF-8 are no crash."""
    Path("alphaloop.toml").write_bytes(b"# caf\xe9\n")
    assert "alphaloop.toml is not text in UTF-8" in complaint(capsys, "features", "list", "--in-use")


def test_a_list_in_a_variable_that_is_no_json_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable, its value and how a list is written."""
    monkeypatch.setenv("ALPHALOOP_FEATURES__SET", "[rsi(14)")
    line = complaint(capsys, "features", "list", "--in-use")
    assert "ALPHALOOP_FEATURES__SET is '[rsi(14)'; write a list between commas, or in JSON" in line


def test_a_vendor_that_is_away_is_one_line_and_exit_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No pages of a vendor's traceback: the line says who did not answer."""
    from alphaloop.errors import VendorError
    from marketdata.sources import registry

    def away(name: str) -> None:
        raise VendorError(f"{name} cannot be reached: no route to host")

    monkeypatch.setattr(registry, "find_source", away)
    assert "yahoo cannot be reached" in complaint(capsys, "data", "show", "yahoo", code=3)


def test_output_that_nobody_reads_on_is_no_error() -> None:
    """`alphaloop features list | head -1` says nothing on standard error."""
    ended = subprocess.run(
        ["sh", "-c", f"{sys.executable} -P -m cli.main features list | head -1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.stderr == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("x = 1\nraise KeyError('boom')", "own.py, line 2: KeyError: 'boom'; mend this file"),
        ("import no_such_library", "own.py, line 1: ModuleNotFoundError"),
        ("def f(:", "own.py, line 1: invalid syntax"),
        ("raise SystemExit(0)", "own.py, line 1: SystemExit"),
        ("", "own.py defines no indicator"),
        ("{head}def own(length): ...", "parameter 'length' of indicator 'own' needs a default"),
        ("{head}def own(length: int = 5):\n    return 3", "'own' must return an operator"),
        ("{head}def own(length: int = 5):\n    raise RuntimeError('oh')", "'own' cannot take length=5: oh"),
        ("{head}def rank(length: int = 5):\n    return 3", "'rank' is a word of the language"),
    ],
)
def test_a_file_of_ones_own_that_fails_is_one_line(
    capsys: pytest.CaptureFixture[str], text: str, named: str
) -> None:
    """The file, the line and what Python said; an exit in the file does not pass for success."""
    head = "from features.engine.indicator import indicator\n@indicator()\n"
    Path("own.py").write_text(text.replace("{head}", head))
    Path("alphaloop.toml").write_text('[features]\nset = ["own"]\nfiles = ["own.py"]\n')
    assert named in complaint(capsys, "features", "list", "--in-use")


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("bars.csv", "", "column 'timestamp' is missing; it has: none"),
        ("bars.csv", "symbol,timestamp,close\n", "there are no rows"),
        ("bars.csv", "symbol,timestamp,close\nA,2019-01-02T10:00:00,1\n", "row 1 is '2019-01-02T10:00:00'"),
        ("bars.csv", "symbol,timestamp,close\nA,2019-01-02,x\n", "column 'close', row 1 is 'x'"),
        ("bars.csv", "symbol,timestamp,close\nA,2019-01-03,2\nA,2019-01-02,1\n", "[sorted] A at 2019-01-02"),
        ("bars.parquet", "no parquet", "bars.parquet"),
    ],
)
def test_a_file_that_is_no_bars_is_one_line(
    capsys: pytest.CaptureFixture[str], name: str, text: str, named: str
) -> None:
    """Empty files, times without a zone, texts for numbers and rows in the wrong order are named."""
    Path(name).write_text(text)
    assert named in complaint(capsys, "data", "check", name)


def test_bars_without_a_price_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A price that is missing in the file is missing in what is shown of it."""
    Path("bars.csv").write_text("symbol,timestamp,close\nA,2019-01-02,\n")
    assert main.run_command(["data", "show", "bars.csv"]) == 0
    assert "None" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("data", "show", "--from", "2019-02-01", "--to", "2019-01-01"), "is after --to '2019-01-01'"),
        (("features", "list", "astrology"), "no indicator has 'astrology' in name, group or description"),
        (
            ("data", "show", "--from", "1600-01-01"),
            "--from '1600-01-01' is out of reach; years are from 1800",
        ),
        (("features", "build", "--until", "0001-01-01"), "--until '0001-01-01' is out of reach"),
        (("data", "show", "eurusd-1h", "--file", "a.csv"), "are both given; leave one out"),
        (("data", "check", "--policy", "gap=report,gap=reject"), "--policy names rule 'gap' twice"),
        (("data", "show", "folder:.?frequency=banana"), "frequency is 'banana'; write it as 1m"),
        (("data", "show", "folder:.?adjusted_only=maybe"), "adjusted_only is 'maybe'; write true or false"),
        (("data", "stream", "--replay", "2019-01-02:2019-01-03", "--providers", "yahoo"), "leave one out"),
        (("data", "show", "."), "'.' is a folder; write folder:."),
        (("data", "prune", "--keep-days", "nan"), "keep_days is nan; it must be from 0"),
        (("data", "prune", "--keep-days", "1e300"), "keep_days is 1e+300; it must be from 0"),
        (("data", "prune", "--keep-last", "-1"), "keep_last is -1; it must be 0 or more"),
        (("data", "stream", "--providers", "alpaca"), "more symbols than it can list"),
    ],
)
def test_an_impossible_wish_is_one_line(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], named: str
) -> None:
    """Days in the wrong order, folders without their prefix, and numbers that are none."""
    assert named in complaint(capsys, *arguments)


def test_a_home_that_is_a_file_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be written below a file, and the line says so."""
    Path("home").touch()
    monkeypatch.setenv("ALPHALOOP_HOME", "home")
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", "eurusd-1h")
    main.run_command(["features", "build", "--until", "2017-01-03"])
    told = capsys.readouterr().err
    assert told.splitlines()[-1].endswith("home is a file; set ALPHALOOP_HOME to a folder")
    assert "Traceback" not in told


def test_one_bar_is_too_few_for_parity(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bar of one symbol leaves no history to compare with, and the line says so."""
    Path("bars").mkdir()
    Path("bars/A.csv").write_text("symbol,timestamp,close\nA,2019-01-02,1\n")
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", "folder:bars")
    assert "parity needs at least 2 bars" in complaint(capsys, "features", "parity")
