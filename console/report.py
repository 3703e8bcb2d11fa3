"""The report of a run as one HTML page: what was made, at what risk, and who decided what, and why.

Figures are shown as they came out, also where they are poor. `report` is what `report.json` holds;
`series` are the curves behind it. Keys that a run did not fill leave their part of the page short.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaloop.report.bars import bars, histogram, quantile
from alphaloop.report.page import (
    Column,
    Figure,
    badge,
    chain,
    checks,
    columns,
    details,
    figures,
    page,
    panel,
    preformatted,
    section,
    table,
)
from console import wording
from console.report_models import models_section
from console.report_performance import CURVES, drift_section, growth, performance_section, versions_sentence
from console.report_rollouts import KINDS, rollouts_section

Document = Mapping[str, Any]

CHECK = "check"  # a step of the lineage that is a check of the others
WITHIN_CHANCE = 0.2  # of a Sharpe ratio over the few years that a run covers


def render(report: Document, series: Document) -> str:
    """The page for one run; see the module's docstring for the two arguments."""
    return page(
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
    """How the strategy's Sharpe ratio stands to those of doing nothing and of the simplest rule."""
    rivals = [one for one in (equal, plain) if wording.is_number(one)]
    if ours > max(rivals):
        verdict = "It beat both" if len(rivals) > 1 else "It beat equal weight"
    elif ours > equal:
        verdict = "It did better than holding all of them alike, and worse than plain momentum"
    else:
        verdict = "It did not beat simply holding all of them"
    small = all(abs(ours - one) < WITHIN_CHANCE for one in rivals)
    return f"{verdict}{'; differences so small, over so short a time, are chance' if small else ''}."


def _loss(depth: Any) -> Any:
    """A drawdown as a loss, whichever sign it was recorded with."""
    return -abs(depth) if wording.is_number(depth) else None


def _kicker(report: Document) -> str:
    data = report.get("data", {})
    symbols = data.get("symbols", 0)
    count = len(symbols) if isinstance(symbols, list | tuple) else symbols
    return f"alphaloop · {data.get('source', 'no source')} · {wording.whole(count)} symbols"


def _headline(report: Document, series: Document) -> str:
    made = report.get("trading", {}).get("net_return")
    dates = series.get("equity", {}).get("dates") or []
    period = f" from {wording.long_day(dates[0])} to {wording.long_day(dates[-1])}" if dates else ""
    if not wording.is_number(made):
        return f"Nothing was traded{period}"
    verb = "gained" if made >= 0 else "lost"
    return f"The book {verb} {wording.percent(abs(made))} after costs{period}"


def _lead(report: Document) -> str:
    trading = report.get("trading", {})
    ours, equal = trading.get("sharpe_net"), trading.get("equal_weight_sharpe")
    parts = []
    if wording.is_number(ours) and wording.is_number(equal):
        plain = trading.get("momentum_sharpe")
        parts.append(
            f"Its Sharpe ratio after costs was {wording.decimal(ours)}; equal weight had "
            f"{wording.decimal(equal)} and plain 12-1 momentum "
            f"{wording.decimal(plain)}. {_verdict(ours, equal, plain)}"
        )
    parts.append(versions_sentence(report))
    alarms = len(report.get("drift", {}).get("alarms", []))
    parts.append(f"The drift monitor raised {wording.counted(alarms, 'alarm')}.")
    endings = [
        f"version {one.get('version')} ({KINDS.get(str(one.get('kind')), one.get('kind'))}) "
        f"{wording.outcome(one.get('outcome'))}"
        for one in report.get("rollouts", [])
    ]
    if endings:
        parts.append(f"Put to the test: {wording.listed(endings)}.")
    return " ".join(filter(None, parts))


def _headline_figures(report: Document, series: Document) -> list[Figure]:
    trading, serving = report.get("trading", {}), report.get("serving", {})
    gains = {name: growth(series.get("equity", {}).get(name) or []) for name, _, _ in CURVES}
    last = {name: values[-1] if values else None for name, values in gains.items()}
    made, verified = trading.get("net_return"), report.get("lineage", {}).get("verified")
    fidelity = [
        one["fidelity_max_abs_diff"]
        for one in report.get("models", [])
        if wording.is_number(one.get("fidelity_max_abs_diff"))
    ]
    errors = serving.get("errors")
    return [
        Figure(
            name="Net return",
            value=wording.percent(made, signed=True),
            note=f"equal weight {wording.percent(last['equal_weight'], 0, signed=True)}, "
            f"momentum {wording.percent(last['momentum'], 0, signed=True)}",
            tone="bad" if wording.below(made, 0) else "",
        ),
        Figure(
            name="Sharpe ratio, net",
            value=wording.decimal(trading.get("sharpe_net")),
            note=f"equal weight {wording.decimal(trading.get('equal_weight_sharpe'))}, "
            f"momentum {wording.decimal(trading.get('momentum_sharpe'))}",
        ),
        Figure(
            name="Deepest loss",
            value=wording.percent(_loss(trading.get("max_drawdown"))),
            note="from peak to trough",
        ),
        Figure(
            name="Orders",
            value=wording.whole(trading.get("orders")),
            note=f"{wording.whole(trading.get('fills'))} fills",
        ),
        Figure(
            name="Served, 99th percentile",
            value=wording.milliseconds(serving.get("p99_ms")),
            note=f"{wording.whole(serving.get('requests'))} requests, {wording.whole(errors)} errors",
            tone="bad" if errors else "",
        ),
        Figure(
            name="Training and serving differ by",
            value=wording.tiny(report.get("features", {}).get("parity_max_abs_diff")),
            note="at most, over all features",
        ),
        Figure(
            name="Exported models differ by",
            value=wording.tiny(max(fidelity, default=None)),
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
    half, slow = quantile(latencies, 0.5), quantile(latencies, 0.99)
    return section(
        "Serving",
        f"{wording.whole(serving.get('requests'))} predictions were asked for over gRPC while the loop ran, "
        f"{wording.whole(serving.get('errors'))} of them failed.",
        panel(
            histogram(
                latencies,
                title="Time from request to answer",
                marks=[(half, "half within"), (slow, "99 % within")] if latencies else [],
                label=wording.milliseconds,
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
            columns(chain(steps), checks(checked)),
            heading=f"Order {lineage.get('order_id') or wording.ABSENT}",
            badge_html=verdict,
        ),
    )


def _origin(report: Document, series: Document) -> str:
    data, features = report.get("data", {}), report.get("features", {})
    symbols = data.get("symbols")
    facts = [
        ("Source", str(data.get("source", wording.ABSENT))),
        ("Symbols", ", ".join(symbols) if isinstance(symbols, list | tuple) else wording.whole(symbols)),
        ("Bars", f"{wording.whole(data.get('rows'))} rows, {wording.day(data.get('first'))} to "
                 f"{wording.day(data.get('last'))}"),
        ("Snapshot", str(data.get("snapshot", wording.ABSENT))),
        ("Features", wording.whole(features.get("count"))),
        ("Feature set", str(features.get("set_hash", wording.ABSENT))),
    ]  # fmt: skip
    stages = [
        (str(one.get("name")), float(one.get("seconds") or 0))
        for one in series.get("stages") or report.get("stages", [])
    ]
    story = [str(line) for line in series.get("story", [])]
    return section(
        "Where this comes from",
        "The data, the features made of it, and how long each stage of the run took.",
        panel(table([Column(name="Fact", number=False), Column(name="Value", number=False)], facts)),
        panel(bars(stages, label="{:.1f} s".format), heading="Time by stage") if stages else "",
        details("What was printed while it ran", preformatted(story)) if story else "",
    )
