"""`alphaloop data`: sources and folders listed, checked by every rule, with what follows from findings."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli import main

GOOD = ["symbol,timestamp,close", "KO,2019-01-02,50", "KO,2019-01-03,51", "KO,2019-01-04,49"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, and stop nothing that this process did not start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)


def run(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> tuple[str, str]:
    """What the command prints on both streams."""
    found = main.run_command(list(arguments))
    printed = capsys.readouterr()
    assert found == code, printed.err
    return printed.out, printed.err


def findings(out: str) -> list[Any]:
    """Rule and policy of each finding in JSON."""
    return [(one["rule"], one["policy"]) for one in json.loads(out)["findings"]]


def test_embedded_sources_and_families_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """The list shows the embedded sets with calendar and kind of prices, and how a folder is named."""
    rows = {one["source"]: one for one in json.loads(run(capsys, "data", "list", "--json")[0])}
    assert (rows["us-tech-ohlcv"]["symbols"], rows["us-tech-ohlcv"]["prices"]) == (5, "as traded")
    assert rows["eurusd-1h"]["calendar"] == "24/5"
    assert "s3://" in rows["folder:…"]["description"]
    assert "folder:…" in run(capsys, "data", "list")[0]


def test_the_list_waits_for_no_library_that_it_does_not_need() -> None:
    """Sources are listed without importing a vendor's kit, pandas or the exchanges' calendars."""
    program = (
        "import sys; from cli import main; code = main.run_command(['data', 'list']); "
        "heavy = {'ccxt', 'pandas', 'exchange_calendars', 'yfinance', 'alpaca'} & set(sys.modules); "
        "sys.exit(f'code {code}, imported {heavy}' if code or heavy else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_warnings_are_shown_and_refuse_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """The flash crash is shown with rule, bar and policy; the command succeeds."""
    out, _ = run(capsys, "data", "check", "us-tech-ohlcv")
    assert "2010-05-06" in out
    assert "nothing wrong beyond 2 warnings" in out
    out, _ = run(capsys, "data", "check", "us-tech-ohlcv", "--json")
    assert findings(out) == [("outlier", "report")] * 2


def test_errors_refuse_unless_a_policy_deals_with_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A copied row and a negative price exit with 2; with policies they are repaired and set aside."""
    (tmp_path / "bars").mkdir()
    file = tmp_path / "bars" / "bars.csv"
    file.write_text("\n".join([*GOOD[:2], GOOD[1], "KO,2019-01-03,-51", GOOD[3]]) + "\n")
    _, complaint = run(capsys, "data", "check", str(file), code=2)
    assert "[unique] KO" in complaint
    assert len(complaint.strip().splitlines()) == 1
    out, _ = run(capsys, "data", "check", str(file), "--json", code=2)
    assert findings(out) == [("unique", "reject"), ("price", "reject")]
    policy = "unique=repair,price=quarantine"
    told = json.loads(run(capsys, "data", "check", str(file), "--json", "--policy", policy)[0])
    assert (told["rows"], told["kept"], told["quarantined"]) == (4, 2, 1)
    assert [one["rule"] for one in told["repairs"]] == ["unique"]
    out, _ = run(capsys, "data", "check", f"folder:{file.parent}", "--policy", policy)
    assert "2 errors and 0 warnings, 1 repairs, 1 rows set aside; 2 rows to be used" in out


def test_wrong_policies_are_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A pair without a sign, an unknown rule and an impossible policy are named."""
    for policy, words in (
        ("unique", "rule=policy"),
        ("colour=repair", "unknown quality rule 'colour'"),
        ("gap=repair", "cannot have the policy 'repair'"),
    ):
        _, complaint = run(capsys, "data", "check", "eurusd-1h", "--policy", policy, code=2)
        assert words in complaint


def test_pruning_spares_what_the_journal_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of three old snapshots the newest and the one in a decision stay; a dry run removes none."""
    from alphaloop.clock import SystemClock
    from alphaloop.journal.store import Journal
    from alphaloop.settings.settings import load_settings
    from marketdata.sources.registry import find_source
    from marketdata.storage.snapshots import SnapshotStore

    paths, table = load_settings().paths, find_source("eurusd-1h").history()
    store = SnapshotStore(paths.snapshots)
    first, named, newest = (store.save(table.slice(0, rows), "eurusd-1h").id for rows in (10, 20, 30))
    with Journal(paths.journal, paths.anchors, SystemClock()) as journal:
        writer = journal.writer("trading")
        writer.append("decision", {"answer": {"snapshot": named}})
        writer.close()
    arguments = ("data", "prune", "--keep-days", "0", "--json")
    for dry in (("--dry-run",), ()):
        assert json.loads(run(capsys, *arguments, *dry)[0])["removed"] == [first]
        assert {one.id for one in SnapshotStore(paths.snapshots).stored()} >= {named, newest}
    assert json.loads(run(capsys, *arguments)[0])["removed"] == []
    assert "keep_days" in run(capsys, "data", "prune", code=2)[1]


def test_a_live_check_finds_that_old_bars_are_stale(capsys: pytest.CaptureFixture[str]) -> None:
    """Held against this machine's clock, bars of 2017 are stale."""
    out, _ = run(capsys, "data", "check", "eurusd-1h", "--live", "--json", code=2)
    assert ("stale", "reject") in findings(out)


@pytest.mark.parametrize(
    ("calendar", "stamps"),
    [
        ("24/7", lambda day: f"2021-01-{day:02}"),
        ("24/7&stamp=close", lambda day: f"2021-01-{day:02}T23:59:59.999Z"),
        ("XASX", lambda day: f"2021-01-{day:02}T10:30:00+11:00"),
    ],
    ids=["dates round the clock", "closes at 23:59:59.999", "Sydney, still the day before in UTC"],
)
def test_days_of_the_command_line_are_those_of_the_calendar(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, calendar: str, stamps: Any
) -> None:
    """--from and --to include both days of the market, whatever day it is in UTC when their bars close."""
    rows = "\n".join(f"{stamps(day)},{day}" for day in range(10, 25))
    (tmp_path / "X.csv").write_text(f"date,close\n{rows}\n")
    source = f"folder:{tmp_path}?calendar={calendar}"
    out, _ = run(capsys, "data", "show", source, "--from", "2021-01-13", "--to", "2021-01-19", "--json")
    shown = json.loads(out)["bars"][0]
    assert [shown[name] for name in ("bars", "first", "last", "first_close", "last_close")] == [
        *(7, "2021-01-13", "2021-01-19"),
        *(13.0, 19.0),
    ]
