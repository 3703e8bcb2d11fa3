"""The report page: complete, self-contained, escaped, and honest when figures are poor or absent."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cli import formatting
from cli.reports.run_report import render_run_report

DAYS = [f"2020-{month:02d}-{day:02d}" for month in range(1, 7) for day in (3, 9, 15, 21, 27)]


def a_report() -> dict[str, Any]:
    """Every key of report.json."""
    return {
        "data": {
            "source": "sp500-20", "symbols": ["AAPL", "AMD"], "rows": 60, "first": DAYS[0],
            "last": DAYS[-1], "snapshot": "s" * 64,
        },
        "features": {"count": 24, "set_hash": "f" * 64, "parity_max_abs_diff": 0.0},
        "models": [
            {
                "name": "equities", "family": "lightgbm", "version": "2", "digest": "d" * 64, "ic": 0.011,
                "ic_tstat": 1.4, "sharpe_net": 0.6, "active_ir_net": -0.2, "fidelity_max_abs_diff": 2e-7,
                "gate": {"passed": False, "reasons": ["IC t-statistic 1.4 is below 2 & so on"]},
            },
        ],
        "serving": {"requests": 600, "errors": 0, "p50_ms": 1.7, "p99_ms": 8.0},
        "trading": {
            "orders": 40, "fills": 40, "net_return": -0.05, "sharpe_net": -0.4, "equal_weight_sharpe": 0.9,
            "momentum_sharpe": 0.3, "max_drawdown": -0.3,
        },
        "drift": {"alarms": [{"date": DAYS[12] + "T21:00:00+00:00", "share": 0.5, "features": ["rsi_14"]}],
                  "calibration": {"threshold": 0.4}},
        "rollouts": [
            {"version": "3", "kind": "sabotage", "outcome": "rolled_back", "evidence": {"recomputation": 0.4},
             "started": DAYS[14], "ended": DAYS[17], "bars": 3},
            {"version": "9", "kind": "simulated", "outcome": "promoted", "evidence": {}, "started": DAYS[0],
             "ended": DAYS[9], "bars": 9},
        ],
        "lineage": {"order_id": "al-123", "verified": True},
        "stages": [{"name": "train", "seconds": 12.5}],
    }  # fmt: skip


def its_series() -> dict[str, Any]:
    """The curves behind it."""
    return {
        "equity": {
            "dates": DAYS, "strategy": [1e6 - 1e3 * i for i in range(30)],
            "equal_weight": [1e6 + 1e3 * i for i in range(30)], "momentum": [1e6] * 30,
        },
        "drift": {"dates": DAYS, "share": [0.1] * 12 + [0.5] + [0.2] * 17, "threshold": 0.4,
                  "calibration": {"window": 10, "alarms": ["2008-10-06"], "frozen": True}},
        "rollouts": [
            {"version": "3", "kind": "sabotage", "outcome": "rolled_back", "decided_by": "recomputation",
             "timeline": [{"bar": DAYS[14], "state": "shadow", "weight": 0.0},
                          {"bar": DAYS[15], "state": "shadow", "weight": 0.0},
                          {"bar": DAYS[16], "state": "canary", "weight": 0.05}],
             "evidence_series": {"recomputation": [[DAYS[14], 0.1], [DAYS[16], 2.9]],
                                 "cost": [[DAYS[14], 0.0]]},
             "bounds": {"recomputation": 2.0, "cost": 2.3}, "explanation": "Its live inputs are rotated."},
            {"version": "9", "kind": "simulated", "outcome": "promoted", "decided_by": "gain",
             "timeline": [{"bar": 0, "state": "shadow", "weight": 0.0},
                          {"bar": 5, "state": "canary", "weight": 0.5},
                          {"bar": 9, "state": "canary", "weight": 0.5}],
             "evidence_series": {"gain": [[0, -5.0], [9, 5.0]]}, "bounds": {"gain": 1.3}, "explanation": ""},
        ],
        "latency_ms": [1.5, 1.7, 1.9, 12.0],
        "walk_forward": {"lightgbm": [{"train": ["2000-01-03", "2009-12-31"], "test_first": "2010-01-04",
                                       "test_last": "2011-12-30", "ic": 0.01, "sharpe_net": 0.5,
                                       "active_ir_net": -0.1, "turnover": 0.043}]},
        "lineage": [{"step": "Bar", "label": "AAPL", "value": "60.5"},
                    {"step": "Fill", "label": "x", "value": "y"}],
        "story": ["train <lightgbm>"],
        "stages": [{"name": "train", "seconds": 12.5}],
    }  # fmt: skip


class Balance(HTMLParser):
    """Raises unless every tag is closed in order."""

    VOID = frozenset({"meta", "br", "line", "rect", "path", "circle"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"


def is_well_formed(html: str) -> bool:
    """Whether all tags nest."""
    balance = Balance()
    balance.feed(html)
    return balance.open == []


def test_the_page_is_whole_and_asks_nothing_of_the_network() -> None:
    """Tags nest, no script runs, and nothing is fetched from anywhere."""
    html = render_run_report(a_report(), its_series())
    assert is_well_formed(html)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|https?://", html)
    assert "prefers-color-scheme: dark" in html


def test_the_page_shows_every_part() -> None:
    """Performance, drift, rollouts, models, serving, lineage and origin are all there."""
    html = render_run_report(a_report(), its_series())
    for heading in (
        "Performance",
        "Drift",
        "Rollouts",
        "Models and the gate",
        "Serving",
        "One order, traced",
    ):
        assert f"<h2>{heading}</h2>" in html
    for shown in ("rsi_14", "Its live inputs are rotated.", "decided by recomputation", "al-123", "AAPL, AMD",
                  "2010-01-04 to 2011-12-30", "12.5 s", "rolled back", "simulated universe"):  # fmt: skip
        assert shown in html, shown


def test_a_loss_is_called_a_loss() -> None:
    """Poor figures lead the page as plainly as good ones."""
    html = render_run_report(a_report(), its_series())
    assert "The book lost 5.0 % after costs from 3 January 2020 to 27 June 2020" in html
    assert "did not beat simply holding all of them" in html
    better = copy.deepcopy(a_report())
    better["trading"] |= {"net_return": 0.2, "sharpe_net": 1.2}
    assert "gained 20.0 %" in render_run_report(better, its_series())


def test_text_is_escaped() -> None:
    """Names from data cannot become markup."""
    html = render_run_report(a_report(), its_series())
    assert "train &lt;lightgbm&gt;" in html
    assert "below 2 &amp; so on" in html


def test_an_unverified_trail_is_said() -> None:
    """A broken chain is in the headline figures and beside the order."""
    report = a_report()
    report["lineage"] = {"order_id": None, "verified": False}
    html = render_run_report(report, its_series())
    assert html.count("not verified") >= 2


@pytest.mark.parametrize("missing", [*a_report(), "everything"])
def test_a_part_that_a_run_did_not_fill_leaves_the_rest_standing(missing: str) -> None:
    """An interrupted run still gives a page."""
    report, series = a_report(), its_series()
    if missing == "everything":
        report, series = {}, {}
    else:
        report.pop(missing)
        for name in ("equity", missing):
            series.pop(name, None)
    assert is_well_formed(render_run_report(report, series))


def test_figures_are_written_as_one_reads_them() -> None:
    """True minus signs, thousands set apart, a dash for what is not known."""
    assert formatting.format_decimal(-0.004) == "0.00"
    assert formatting.format_decimal(-1234.5, 1) == "−1,234.5"
    assert formatting.format_decimal(float("nan")) == formatting.DASH
    assert formatting.format_percent(0.123, signed=True) == "+12.3 %"
    assert formatting.format_percent(None) == formatting.DASH
    assert formatting.format_milliseconds(1.234) == "1.23 ms"
    assert formatting.format_milliseconds(None) == formatting.DASH
    assert formatting.format_difference(0) == "0"
    assert formatting.format_difference(2.4e-7) == "2.4e−7"
    assert formatting.format_difference(None) == formatting.DASH
    assert formatting.format_count(None) == formatting.DASH
    assert formatting.format_count(12345.0) == "12,345"
    assert formatting.count_noun(0, "alarm") == "no alarm"
    assert formatting.count_noun(2, "alarm") == "2 alarms"
    assert formatting.join_names(["a"]) == "a"
    assert formatting.join_names(["a", "b", "c"]) == "a, b and c"
    assert formatting.shorten_id("", 3) == formatting.DASH
    assert formatting.flatten_facts({"a": {"b_c": 0.12345, "d": [1, 2]}, "e": None, "f": True}) == [
        ("a.b c", "0.1235"), ("a.d", "1, 2"), ("e", formatting.DASH), ("f", "yes"),
    ]  # fmt: skip


def test_the_verdict_is_neither_flattered_nor_overstated() -> None:
    """A Sharpe ratio is set beside both rivals, and a difference that is chance is called chance."""

    def told(ours: float, equal: float, momentum: float | None) -> str:
        report = a_report()
        report["trading"] |= {"sharpe_net": ours, "equal_weight_sharpe": equal, "momentum_sharpe": momentum}
        return render_run_report(report, its_series())

    assert "worse than plain momentum; differences so small, over so short a time, are chance." in told(
        1.06, 1.03, 1.08
    )
    assert "It beat both." in told(1.6, 1.0, 1.1)
    assert "It beat equal weight." in told(1.6, 1.0, None)
    assert "It did not beat simply holding all of them." in told(0.2, 1.0, 1.1)


def test_evidence_is_drawn_against_the_bounds_that_decide() -> None:
    """Tests for rolling back and for promoting have their own bounds, and one bar is no course to draw."""
    series = its_series()
    rollout = series["rollouts"][0]
    rollout["evidence_series"] = {
        name: [[DAYS[14], 0.0], [DAYS[17], 1.0]] for name in ("behaviour", "ic", "ic_better")
    }
    rollout["bounds"] = {"behaviour": 2.5, "ic": 2.6, "ic_better": 1.6}
    html = render_run_report(a_report(), series)
    for words in ("rolled back above", "promoted above", "behaviour off its card", "IC better"):
        assert words in html
    rollout["evidence_series"] = {"ic": [[DAYS[14], 0.0]]}
    assert "IC worse" not in render_run_report(a_report(), series)


def test_checks_of_the_lineage_are_told_apart_from_its_steps() -> None:
    """What was checked is listed beside the chain, and a failed check is marked."""
    series = its_series()
    series["lineage"] += [
        {"step": "check", "label": "same order again", "value": "yes"},
        {"step": "check", "label": "journal whole", "value": "NO"},
    ]
    html = render_run_report(a_report(), series)
    assert '<li class="">same order again</li><li class="bad">journal whole</li>' in html
