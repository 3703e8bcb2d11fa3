"""`alphaloop init` writes a workspace in which the printed next commands lead from bars to a server."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from alphaloop.runtime.package_roots import PACKAGES
from cli import main
from cli.new_workspace import TEMPLATE_FOLDER, TEMPLATES
from marketdata.calendars import session_closes

ROOT = Path(__file__).resolve().parents[2]
BARS = 1_400
SYMBOLS = {
    "daily": ("AAPL", "JPM", "KO", "MSFT", "PFE", "XOM"),
    "crypto": ("ADA-USDT", "BTC-USDT", "ETH-USDT", "LTC-USDT", "SOL-USDT", "XRP-USDT"),
    "fx": ("AUDUSD", "CADUSD", "CHFUSD", "EURUSD", "GBPUSD", "NZDUSD"),
}


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder; plug-ins of a workspace are forgotten afterwards."""
    from alphaloop.plugins import use_files

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    yield
    use_files(())


def stamps(template: str) -> list[str]:
    """The times of bars as the template's README shows them: days, or closes of hours."""
    if template == "daily":
        closes = session_closes(date(2016, 1, 4), date(2021, 12, 31))
        return [str(day) for day in closes[:BARS].astype("datetime64[D]")]
    hours = [datetime(2024, 1, 1, 1, tzinfo=UTC) + timedelta(hours=one) for one in range(2 * BARS)]
    if template == "fx":
        hours = [hour for hour in hours if trades_in_forex(hour)]
    return [hour.strftime("%Y-%m-%dT%H:%M:%SZ") for hour in hours[:BARS]]


def trades_in_forex(close: datetime) -> bool:
    """True if an hour that closes then lies between Sunday 17:00 and Friday 17:00 in New York."""
    local = close.astimezone(ZoneInfo("America/New_York"))
    return {4: local.hour <= 17, 5: False, 6: local.hour > 17}.get(local.weekday(), True)


def write_bars(folder: Path, template: str) -> None:
    """Write a random walk for each symbol, as a CSV file."""
    rng, times = np.random.default_rng(11), stamps(template)
    for symbol in SYMBOLS[template]:
        closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.001 if template == "fx" else 0.01, len(times))))
        opens = [50.0, *closes[:-1]]
        with (folder / f"{symbol}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["date" if template == "daily" else "timestamp", "open", "high", "low", "close"])
            rows.writerows(
                [at, first, max(first, last), min(first, last), last]
                for at, first, last in zip(times, opens, closes, strict=True)
            )


def follow(step: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """Call what a `next:` line says, and return the step that it says in its turn."""
    place, _, command = step.rpartition(" && ")
    if place:
        monkeypatch.chdir(place.removeprefix("cd "))
    command = command.replace("NAME", "by-hand").replace("WHY", "test")
    code = main.run_command(shlex.split(command)[1:])
    shown = capsys.readouterr().err
    assert code == 0, shown
    last = shown.splitlines()[-1]
    assert last.startswith("next: "), shown
    return last.removeprefix("next: ")


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_printed_next_commands_lead_from_bars_to_served_features(
    template: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings are accepted, bars are clean, and each command names the next, until a server can start."""
    assert main.run_command(["init", "desk", "--template", template]) == 0
    step = capsys.readouterr().err.splitlines()[-1].removeprefix("next: ")
    assert step == "cd desk && alphaloop config check"
    write_bars(Path("desk/bars"), template)
    called = []
    while step != "alphaloop serve":
        called.append(shlex.split(step.rpartition(" && ")[2])[1:3])
        assert len(called) < 10, called
        step = follow(step, capsys, monkeypatch)
    assert [call[0] for call in called[:4]] == ["config", "data", "features", "train"]
    assert called[-1] == ["features", "materialize"]
    assert main.run_command(["data", "show", "--json"]) == 0
    bars = json.loads(capsys.readouterr().out)["bars"]
    assert {row["symbol"]: row["bars"] for row in bars} == dict.fromkeys(SYMBOLS[template], BARS)


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_notebook_shows_features_of_the_bars(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cell runs, in order, and the indicator of the folder `own` is among what it shows."""
    assert main.run_command(["init", ".", "--template", template]) == 0
    write_bars(Path("bars"), template)
    session: dict[str, object] = {}
    for cell in json.loads(Path("notebook.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), session)
    own = session["own"]
    assert list(own.columns) == ["range_position_20", "trend", "rsi_14"]  # type: ignore[attr-defined]
    assert own["range_position_20"].dropna().between(0, 1).all()  # type: ignore[index]


RECORDS = {
    "members.csv": "symbol,start,published\nAAPL,2010-01-01T00:00:00Z,2010-01-01T00:00:00Z\n",
    "actions.csv": "symbol,kind,ex_date,published,value\nAAPL,split,2020-08-31,2020-07-30T20:30:00Z,4\n",
    "releases.csv": "series,published,value\ncpi,2012-01-19T13:30:00Z,2.2\n",
    "instruments.csv": "symbol,lot\nAAPL,1\n",
}
"""Files that the examples of templates name."""


def test_every_default_that_a_template_shows_is_accepted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the # taken away from each line of settings, `alphaloop config check` has nothing to say."""
    for template in TEMPLATES:
        text = (TEMPLATE_FOLDER / template / "alphaloop.toml").read_text()
        lines, seen = [], set()
        for line in text.splitlines():
            bare = line.removeprefix("# ")
            name = bare.partition(" = ")[0]
            is_setting = bare.startswith("[") or (" = " in bare and name.isidentifier())
            # A second value of a setting is an alternative to the first.
            if is_setting and name not in seen:
                lines.append(bare)
                seen |= {name} if not bare.startswith("[") else set()
        Path(template).mkdir()
        shutil.copytree(TEMPLATE_FOLDER / "shared" / "own", Path(template) / "own")
        (Path(template) / "alphaloop.toml").write_text("\n".join(lines))
        for name, content in RECORDS.items():
            (Path(template) / name).write_text(content)
        monkeypatch.chdir(template)
        assert main.run_command(["config", "check"]) == 0, capsys.readouterr().err
        assert main.run_command(["features", "list", "--in-use", "--json"]) == 0, capsys.readouterr().err
        monkeypatch.chdir("..")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["full"], "full is not empty (it holds notes.txt); name a folder"),
        (["full/notes.txt"], "full/notes.txt is a file; name a folder"),
        (["new", "--template", "weekly"], "unknown template 'weekly'; known: crypto, daily, fx"),
    ],
)
def test_nothing_of_ones_own_is_written_over(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that holds anything, a file, and an unknown template end with exit code 2 and one line."""
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    assert main.run_command(["init", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert [path.name for path in Path("full").iterdir()] == ["notes.txt"]
    assert not Path("new").exists()


def test_the_wheel_holds_the_templates(tmp_path: Path) -> None:
    """Every file of every template is in a wheel built from the tree."""
    tree = tmp_path / "tree"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(tree)], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("alphaloop-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [
        path for path in TEMPLATE_FOLDER.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    ]
    assert len(files) > 10
    assert {path.relative_to(ROOT).as_posix() for path in files} <= held
