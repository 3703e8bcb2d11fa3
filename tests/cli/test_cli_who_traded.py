"""The report says which version traded when, and figures and times have the digits that mean something."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cli import formatting
from cli.demo.traded_versions import summarize_traded_versions
from cli.model_card_view import fact_lines
from cli.reports.run_report import render_run_report


def _bar(day: int, **sleeves: int) -> tuple[str, list[Any]]:
    """A bar on which `v1=18, v3=2` sleeves were decided by these versions."""
    versions = [name[1:] for name, count in sleeves.items() for _ in range(count)]
    return f"2020-03-{day:02d}T21:00:00+00:00", [SimpleNamespace(version=version) for version in versions]


BARS = [_bar(2, v1=20), _bar(3, v1=19, v3=1), _bar(4, v1=15, v3=5), _bar(5, v1=20), _bar(6)]
FAMILIES = {"1": "momentum", "3": "lightgbm"}


def test_each_version_has_its_bars_and_its_share_of_the_sleeves() -> None:
    """74 of 80 sleeve-bars are the champion's; the challenger had 6 of the 40 on the bars it took part in."""
    champion, challenger = summarize_traded_versions(BARS, FAMILIES.__getitem__)
    assert champion["version"] == "1"
    assert (champion["first"][:10], champion["last"][:10], champion["bars"]) == (
        "2020-03-02",
        "2020-03-05",
        4,
    )
    assert champion["share"] == pytest.approx(74 / 80)
    assert (challenger["family"], challenger["bars"]) == ("lightgbm", 2)
    assert challenger["share"] == pytest.approx(6 / 80)
    assert challenger["share_then"] == pytest.approx(6 / 40)
    assert summarize_traded_versions([_bar(2)], FAMILIES.__getitem__) == []


def test_the_report_says_who_traded() -> None:
    """The lead names the versions with their families and shares, and a table says from when to when."""
    report = {
        "trading": {"net_return": 0.65, "versions": summarize_traded_versions(BARS, FAMILIES.__getitem__)}
    }
    html = render_run_report(
        report, {"equity": {"dates": ["2020-03-02", "2020-03-06"], "strategy": [1.0, 1.65]}}
    )
    assert "92 % by version 1 (momentum) and 8 % by version 3 (lightgbm)" in html
    assert "Which version traded when" in html
    assert "2020-03-03" in html and "2020-03-04" in html
    assert "Which version traded when" not in render_run_report({"trading": {}}, {})


def test_a_report_of_hourly_bars_has_times() -> None:
    """Where two ends are of one day, each has its time."""
    versions = [
        {"version": "1", "family": "momentum", "first": "2020-03-02T15:00:00+00:00",
         "last": "2020-03-02T20:00:00+00:00", "bars": 6, "share": 1.0, "share_then": 1.0},
    ]  # fmt: skip
    html = render_run_report({"trading": {"net_return": 0.1, "versions": versions}}, {})
    assert "2020-03-02 15:00" in html and "2020-03-02 20:00" in html


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0 %"), (1.0, "100 %"), (0.0004, "0.04 %"), (0.004, "0.4 %"), (0.9996, "99.96 %"), (0.074, "7 %"),
     (1e-9, "1.0e−7 %"), (None, "–")],
)  # fmt: skip
def test_a_little_is_not_nothing_and_almost_all_not_all(share: float | None, shown: str) -> None:
    """A share is rounded to the digits that still say what it is."""
    assert formatting.format_share(share) == shown


def test_times_of_intraday_bars_have_their_time() -> None:
    """Bars of one day are told apart; of daily bars the day is enough."""
    hour = datetime(2020, 3, 2, 15, 30, tzinfo=UTC)
    assert formatting.format_time(hour, intraday=True) == "2020-03-02 15:30"
    assert formatting.format_time("2020-03-02T15:30:05+00:00", intraday=True) == "2020-03-02 15:30:05"
    assert formatting.format_time(hour, intraday=False) == "2020-03-02"
    assert formatting.format_time("", intraday=True) == "–"
    daily = np.arange("2020-03-02T21", "2020-05-02T21", 24, dtype="datetime64[h]").astype("datetime64[ns]")
    assert not formatting.are_intraday(daily)
    assert formatting.are_intraday(daily + np.where(np.arange(len(daily)) % 2, 0, 86_000 * 10**9))
    assert formatting.are_intraday(np.arange("2020-03-02T09", "2020-03-02T16", dtype="datetime64[h]"))


def test_facts_of_a_card_have_few_digits() -> None:
    """Sixteen digits of a float say no more than four; names, lists and what is absent stay readable."""
    facts = {"ic": 0.012345678901, "universe": ["A", "B"], "pipeline_run": None, "horizon": 5, "gate": {}}
    shown = dict(fact_lines(facts))
    assert shown == {"ic": "0.01235", "universe": "A, B", "pipeline_run": "–", "horizon": "5"}
