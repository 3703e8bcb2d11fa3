"""`alphaloop data check` does what storing does: the settings' source, symbols, policies and thresholds."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.errors import DataError
from alphaloop.settings.settings import load_settings
from cli import main
from loop.workspace import take_snapshot
from marketdata.calendars import session_closes

DAYS = [str(day)[:10] for day in session_closes(date(2019, 1, 2), date(2019, 3, 29))]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands run in an empty folder, on a source of two symbols: A is quiet for six days and lacks one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    (tmp_path / "bars").mkdir()
    steps = 0.01 * np.random.default_rng(7).standard_normal(len(DAYS))
    price = dict(zip(DAYS, 100 * np.exp(np.cumsum(steps)), strict=True))
    quiet = price | dict.fromkeys(DAYS[30:36], price[DAYS[30]])
    for symbol, prices, lacking in (("A", quiet, DAYS[20]), ("B", price, "")):
        lines = [f"{day},{close}" for day, close in prices.items() if day != lacking]
        (tmp_path / "bars" / f"{symbol}.csv").write_text("\n".join(["date,close", *lines]) + "\n")
    monkeypatch.setenv("ALPHALOOP_DATA__SOURCE", f"folder:{tmp_path}/bars")
    return tmp_path


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[tuple[str, ...]]]:
    """Exit code, and symbol, rule and policy of each finding."""
    code = main.run_command(["data", "check", "--json", *arguments])
    found = json.loads(capsys.readouterr().out)["findings"]
    return code, [(one["symbol"], one["rule"], one["policy"]) for one in found]


def storing_is_refused() -> bool:
    """Whether the settings' bars are refused when they are stored."""
    try:
        take_snapshot(load_settings())
    except DataError:
        return True
    return False


@pytest.mark.parametrize(
    ("variables", "code", "expected"),
    [
        ({}, 2, [("A", "gap", "reject")]),
        ({"QUALITY": '{"gap": "report"}'}, 0, [("A", "gap", "report")]),
        (
            {"QUALITY": '{"gap": "report"}', "THRESHOLDS": '{"stuck_bars": 5}'},
            0,
            [("A", "gap", "report"), ("A", "stuck", "report")],
        ),
        ({"SYMBOLS": '["B"]'}, 0, []),
        ({"START": DAYS[25]}, 0, []),
        (
            {"QUALITY": '{"gap": "report", "stuck": "reject"}', "THRESHOLDS": '{"stuck_bars": 5}'},
            2,
            [("A", "gap", "report"), ("A", "stuck", "reject")],
        ),
    ],
)
def test_a_check_tells_what_storing_does(
    variables: dict[str, str],
    code: int,
    expected: list[tuple[str, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Symbols, start, policies and thresholds of the settings count, and its exit code is that of storing."""
    for name, value in variables.items():
        monkeypatch.setenv(f"ALPHALOOP_DATA__{name}", value)
    assert checked(capsys) == (code, expected)
    assert storing_is_refused() == (code == 2)


def test_what_is_left_after_repairs_is_checked_as_storing_checks_it(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two different rows of one bar are no copies: the check refuses them as storing does."""
    path = workspace / "bars" / "B.csv"
    rows = path.read_text().splitlines()
    day, close = rows[-1].split(",")
    path.write_text("\n".join([*rows, f"{day},{float(close) * 1.001}"]) + "\n")
    monkeypatch.setenv("ALPHALOOP_DATA__QUALITY", '{"gap": "report", "unique": "repair"}')
    code = main.run_command(["data", "check"])
    assert (code, storing_is_refused()) == (2, True)
    assert "[unique] B" in capsys.readouterr().err


def test_the_option_comes_before_the_setting(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--policy replaces the setting's policy of its rule and leaves that of the others."""
    monkeypatch.setenv("ALPHALOOP_DATA__QUALITY", '{"gap": "report", "stuck": "reject"}')
    monkeypatch.setenv("ALPHALOOP_DATA__THRESHOLDS", '{"stuck_bars": 5}')
    assert checked(capsys)[0] == 2
    assert checked(capsys, "--policy", "stuck=report") == (
        0,
        [("A", "gap", "report"), ("A", "stuck", "report")],
    )


def test_a_threshold_that_does_not_exist_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says of an unknown threshold what every other command says."""
    monkeypatch.setenv("ALPHALOOP_DATA__THRESHOLDS", '{"stuck_bar": 5}')
    assert main.run_command(["data", "check"]) == 2
    assert "unknown quality threshold 'stuck_bar'" in capsys.readouterr().err


def finding(day: date, symbol: str = "A", rule: str = "gap") -> dict[str, Any]:
    """One finding as a row."""
    texts = {"rule": rule, "symbol": symbol, "timestamp": f"{day}T21:00:00+00:00", "value": "no bar"}
    return {**texts, "severity": "error", "policy": "reject", "bars": 0}


def test_more_than_a_hundred_findings_are_summed_up_by_rule_and_day(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """400 findings of two days and rules are four rows, each with its number, symbols and first finding."""
    from cli.commands import data_check

    days = (date(2019, 1, 2), date(2019, 1, 3))
    rows = [
        finding(day, f"S{place:03}", rule)
        for rule in ("gap", "volume")
        for day in days
        for place in range(100)
    ]
    heads, summed = data_check.summarize_findings(rows)
    assert heads[:4] == ("rule", "day", "findings", "symbols")
    assert [row[:4] for row in summed] == [
        [rule, str(day), "100", "100"] for rule in ("gap", "volume") for day in days
    ]
    assert summed[0][4] == "S000 at 2019-01-02T21:00:00+00:00: no bar"
    data_check.print_findings(rows)
    printed = capsys.readouterr().out
    assert "400 findings, summed up; see all of them with --json" in printed
    assert len(printed.splitlines()) < 12
    data_check.print_findings(rows[:100])
    assert capsys.readouterr().out.count("no bar") == 100


def test_a_summary_of_many_days_goes_by_months_and_years() -> None:
    """A finding on each of 3,000 days makes as many rows as there are months, or years."""
    from cli.commands import data_check

    rows = [finding(date(2010, 1, 1) + timedelta(days=place)) for place in range(3000)]
    for count, span in ((100, 10), (2000, 7), (3000, 7)):
        heads, summed = data_check.summarize_findings(rows[:count])
        assert {len(row[1]) for row in summed} == {span}
        assert len(summed) <= data_check.MAX_FINDINGS_SHOWN
        assert heads[1] == ("day" if span == 10 else "period")
        assert sum(int(row[2].replace(",", "")) for row in summed) == count
    assert (
        len(
            data_check.summarize_findings([*rows, *(finding(date(2025, 1, 1), rule="x") for _ in range(5))])[
                1
            ]
        )
        <= 100
    )
