"""Report of a run as one HTML page: performance, risk, rollouts and their evidence.

Figures are shown unchanged, also where they are poor. `report` is the content of `report.json`; `series` are
the curves behind it. Missing keys leave their section of the page short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alphaloop.html_report.bar_charts import histogram, render_bars
from alphaloop.html_report.page import (
    Figure,
    TableColumn,
    badge,
    chain,
    checks,
    details,
    figures,
    panel,
    preformatted,
    render_columns,
    render_page,
    render_table,
    section,
)
from cli import formatting
from cli.reports.models_section import models_section
from cli.reports.performance_section import (
    CURVES,
    drift_section,
    format_traded_versions,
    performance_section,
    relative_gains,
)
from cli.reports.rollouts_section import KINDS, rollouts_section

Document = Mapping[str, Any]

CHECK = "check"  # a step of the lineage that is a check of the others
WITHIN_CHANCE = 0.2  # of a Sharpe ratio over the few years that a run covers


def render_run_report(report: Document, series: Document) -> str:
    """Render the page for one run.

    See the module's docstring for the two arguments.
    """
    return render_page(
        title="alphaloop report",
        kicker=_kicker(report),
        headline=_headline(report, series),
        lead=_lead(report),
        sections=[
            figures(_headline_figures(report, series)),
            performance_section(report, series),
            drift_section(report, series),
            rollouts_section(report, series),
            models_section(report, series),
            _serving(report, series),
            _lineage(report, series),
            _origin(report, series),
        ],
        footer="Made by alphaloop from its own journal, prediction log and registry. "
        "Prices are adjusted closes, so orders are simulated; the universe holds companies that survived. "
        "Nothing here is investment advice.",
    )


def _verdict(ours: float, equal: float, plain: Any) -> str:
    """Compare the strategy's Sharpe ratio with equal weight and plain momentum, in words."""
    rivals = [one for one in (equal, plain) if formatting.is_finite_number(one)]
    if ours > max(rivals):
        verdict = "It beat both" if len(rivals) > 1 else "It beat equal weight"
    elif ours > equal:
        verdict = "It did better than holding all of them alike, and worse than plain momentum"
    else:
        verdict = "It did not beat simply holding all of them"
    small = all(abs(ours - one) < WITHIN_CHANCE for one in rivals)
    return f"{verdict}{'; differences so small, over so short a time, are chance' if small else ''}."


def _loss(depth: Any) -> Any:
    """Return a drawdown as a negative number, whatever its recorded sign."""
    return -abs(depth) if formatting.is_finite_number(depth) else None


def _kicker(report: Document) -> str:
    data = report.get("data", {})
    symbols = data.get("symbols", 0)
    count = len(symbols) if isinstance(symbols, list | tuple) else symbols
    return f"alphaloop · {data.get('source', 'no source')} · {formatting.format_count(count)} symbols"


def _headline(report: Document, series: Document) -> str:
    made = report.get("trading", {}).get("net_return")
    dates = series.get("equity", {}).get("dates") or []
    period = (
        f" from {formatting.format_long_day(dates[0])} to {formatting.format_long_day(dates[-1])}"
        if dates
        else ""
    )
    if not formatting.is_finite_number(made):
        return f"Nothing was traded{period}"
    verb = "gained" if made >= 0 else "lost"
    return f"The book {verb} {formatting.format_percent(abs(made))} after costs{period}"


def _lead(report: Document) -> str:
    trading = report.get("trading", {})
    ours, equal = trading.get("sharpe_net"), trading.get("equal_weight_sharpe")
    parts = []
    if formatting.is_finite_number(ours) and formatting.is_finite_number(equal):
        plain = trading.get("momentum_sharpe")
        parts.append(
            f"Its Sharpe ratio after costs was {formatting.format_decimal(ours)}; equal weight had "
            f"{formatting.format_decimal(equal)} and plain 12-1 momentum "
            f"{formatting.format_decimal(plain)}. {_verdict(ours, equal, plain)}"
        )
    parts.append(format_traded_versions(report))
    alarms = len(report.get("drift", {}).get("alarms", []))
    parts.append(f"The drift monitor raised {formatting.count_noun(alarms, 'alarm')}.")
    endings = [
        f"version {one.get('version')} ({KINDS.get(str(one.get('kind')), one.get('kind'))}) "
        f"{formatting.format_outcome(one.get('outcome'))}"
        for one in report.get("rollouts", [])
    ]
    if endings:
        parts.append(f"Put to the test: {formatting.join_names(endings)}.")
    return " ".join(filter(None, parts))


def _headline_figures(report: Document, series: Document) -> list[Figure]:
    trading, serving = report.get("trading", {}), report.get("serving", {})
    gains = {name: relative_gains(series.get("equity", {}).get(name) or []) for name, _, _ in CURVES}
    last = {name: values[-1] if values else None for name, values in gains.items()}
    made, verified = trading.get("net_return"), report.get("lineage", {}).get("verified")
    fidelity = [
        one["fidelity_max_abs_diff"]
        for one in report.get("models", [])
        if formatting.is_finite_number(one.get("fidelity_max_abs_diff"))
    ]
    errors = serving.get("errors")
    return [
        Figure(
            name="Net return",
            value=formatting.format_percent(made, signed=True),
            note=f"equal weight {formatting.format_percent(last['equal_weight'], 0, signed=True)}, "
            f"momentum {formatting.format_percent(last['momentum'], 0, signed=True)}",
            tone="bad" if formatting.is_below(made, 0) else "",
        ),
        Figure(
            name="Sharpe ratio, net",
            value=formatting.format_decimal(trading.get("sharpe_net")),
            note=f"equal weight {formatting.format_decimal(trading.get('equal_weight_sharpe'))}, "
            f"momentum {formatting.format_decimal(trading.get('momentum_sharpe'))}",
        ),
        Figure(
            name="Deepest loss",
            value=formatting.format_percent(_loss(trading.get("max_drawdown"))),
            note="from peak to trough",
        ),
        Figure(
            name="Orders",
            value=formatting.format_count(trading.get("orders")),
            note=f"{formatting.format_count(trading.get('fills'))} fills",
        ),
        Figure(
            name="Served, 99th percentile",
            value=formatting.format_milliseconds(serving.get("p99_ms")),
            note=f"{formatting.format_count(serving.get('requests'))} requests, "
            f"{formatting.format_count(errors)} errors",
            tone="bad" if errors else "",
        ),
        Figure(
            name="Training and serving differ by",
            value=formatting.format_difference(report.get("features", {}).get("parity_max_abs_diff")),
            note="at most, over all features",
        ),
        Figure(
            name="Exported models differ by",
            value=formatting.format_difference(max(fidelity, default=None)),
            note="at most, in any score",
        ),
        Figure(
            name="Audit trail",
            value="verified" if verified else "not verified",
            note="every chain and anchor" if verified else "see the lineage below",
            tone="good" if verified else "bad",
        ),
    ]


def _serving(report: Document, series: Document) -> str:
    latencies = series.get("latency_ms") or []
    serving = report.get("serving", {})
    marks = []
    if latencies:
        half, slow = np.quantile(latencies, (0.5, 0.99)).tolist()
        marks = [(half, "half within"), (slow, "99 % within")]
    return section(
        "Serving",
        f"{formatting.format_count(serving.get('requests'))} predictions were asked for over gRPC "
        "while the loop ran, "
        f"{formatting.format_count(serving.get('errors'))} of them failed.",
        panel(
            histogram(
                latencies,
                title="Time from request to answer",
                marks=marks,
                label=formatting.format_milliseconds,
            ),
            heading="Time from request to answer",
            note="As the trading engine saw it, feature look-up and transport included.",
        ),
    )


def _lineage(report: Document, series: Document) -> str:
    lineage = report.get("lineage", {})
    verdict = badge("verified", "good") if lineage.get("verified") else badge("not verified", "bad")
    steps = [
        (str(one.get("step", "")), str(one.get("label", "")), str(one.get("value", "")))
        for one in series.get("lineage", [])
        if one.get("step") != CHECK
    ]
    checked = [
        (str(one.get("label", "")), one.get("value") == "yes")
        for one in series.get("lineage", [])
        if one.get("step") == CHECK
    ]
    return section(
        "One order, traced",
        "From the data it rests on to its fill. Decisions are replayed to the identical order from the "
        "journal alone, and any later change to a record breaks its chain.",
        panel(
            render_columns(chain(steps), checks(checked)),
            heading=f"Order {lineage.get('order_id') or formatting.DASH}",
            badge_html=verdict,
        ),
    )


def _origin(report: Document, series: Document) -> str:
    data, features = report.get("data", {}), report.get("features", {})
    symbols = data.get("symbols")
    facts = [
        ("Source", str(data.get("source", formatting.DASH))),
        ("Symbols", ", ".join(symbols) if isinstance(symbols, list | tuple)
                    else formatting.format_count(symbols)),
        ("Bars", f"{formatting.format_count(data.get('rows'))} rows, "
                 f"{formatting.format_day(data.get('first'))} to "
                 f"{formatting.format_day(data.get('last'))}"),
        ("Snapshot", str(data.get("snapshot", formatting.DASH))),
        ("Features", formatting.format_count(features.get("count"))),
        ("Feature set", str(features.get("set_hash", formatting.DASH))),
    ]  # fmt: skip
    stages = [
        (str(one.get("name")), float(one.get("seconds") or 0))
        for one in series.get("stages") or report.get("stages", [])
    ]
    story = [str(line) for line in series.get("story", [])]
    return section(
        "Where this comes from",
        "The data, the features made of it, and how long each stage of the run took.",
        panel(
            render_table(
                [TableColumn(name="Fact", number=False), TableColumn(name="Value", number=False)], facts
            )
        ),
        panel(render_bars(stages, label="{:.1f} s".format), heading="Time by stage") if stages else "",
        details("What was printed while it ran", preformatted(story)) if story else "",
    )
