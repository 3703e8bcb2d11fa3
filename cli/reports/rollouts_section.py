"""Section of the report on rollouts: timelines, evidence and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaloop.html_report.line_chart import Level, LineChart, LineSeries, line_chart
from alphaloop.html_report.page import TableColumn as Head
from alphaloop.html_report.page import badge, details, panel, paragraph, render_table, section
from alphaloop.html_report.timeline import Segment, TimelineRow, timeline
from cli import formatting

Document = Mapping[str, Any]

PHASES = frozenset({"shadow", "canary"})
PROMOTION_SUFFIX = "_better"  # suffix of tests for a promotion
MAX_CANARY_WEIGHT = 0.5  # the largest weight that a challenger is given before it is promoted
SHADES = "The stronger the colour, the larger the share of capital that the new version answered for."
TESTS = {
    "history": "past behaviour off its card",
    "behaviour": "behaviour off its card",
    "cost": "cost above its card",
    "ic": "IC worse",
    "pnl": "return worse",
    "ic_better": "IC better",
    "pnl_better": "return better",
}
LAYERS = {
    "behaviour": "its behaviour against its own card",
    "recomputation": "recomputation of its logged scores",
    "guard": "a guard: failed, slow or stale answers",
    "cost": "its trading costs",
    "ic": "its information coefficient",
    "pnl": "its net return",
    "gate": "the gate, before its first bar",
}
KINDS = {"real": "real data", "sabotage": "sabotage", "simulated": "simulated universe"}


def rollouts_section(report: Document, series: Document) -> str:
    """Render every rollout: its shadow and canary stages, its outcome and its evidence."""
    rollouts = _merged(report, series)
    dates = series.get("equity", {}).get("dates") or []
    span = (dates[0], dates[-1]) if dates else None
    real = [one for one in rollouts if one.get("kind") != "simulated"]
    return section(
        "Rollouts",
        "A new version first answers in the shadow, then for a growing share of capital. Both versions score "
        "every bar, and the comparison is paired. Each verdict may be reached at any bar without raising "
        "the rate of false ones.",
        panel(
            timeline(list(map(_row, real)), title="Rollouts over time", span=span),
            heading="Over time",
            note=SHADES,
        )
        if real
        else "",
        *map(_rollout, rollouts),
        "" if rollouts else paragraph("No version was rolled out in this run.", "nothing"),
    )


def _merged(report: Document, series: Document) -> list[dict[str, Any]]:
    """Merge each rollout of the report with its curves, by index, else by version and kind."""
    curves = list(series.get("rollouts", []))
    rows = list(report.get("rollouts") or curves)
    if len(rows) == len(curves) and all(map(_same, rows, curves)):
        return [{**curve, **row} for row, curve in zip(rows, curves, strict=True)]
    return [{**next((curve for curve in curves if _same(row, curve)), {}), **row} for row in rows]


def _same(row: Document, curve: Document) -> bool:
    return str(row.get("version")) == str(curve.get("version")) and row.get("kind") == curve.get("kind")


def _title(rollout: Document) -> str:
    kind = str(rollout.get("kind", ""))
    return f"Version {rollout.get('version', formatting.DASH)}, {KINDS.get(kind, kind)}"


def _row(rollout: Document) -> TimelineRow:
    return TimelineRow(
        label=_title(rollout),
        segments=_segments(rollout),
        outcome=formatting.format_outcome(rollout.get("outcome")),
        tone=formatting.OUTCOME_TONES.get(str(rollout.get("outcome")), "muted"),
    )


def _segments(rollout: Document) -> list[Segment]:
    """Join equal consecutive steps of the timeline into segments, each until the next begins."""
    events = list(rollout.get("timeline") or [])
    steps = [one for one in events if one.get("state") in PHASES]
    if not steps:
        return []
    end = rollout.get("ended")
    if end is None or isinstance(end, str) is not isinstance(events[-1]["bar"], str):
        end = events[-1]["bar"]
    begun = [one for at, one in enumerate(steps) if at == 0 or _phase(one) != _phase(steps[at - 1])]
    lasts = [one["bar"] for one in begun[1:]] + [end]
    return [
        Segment(first=one["bar"], last=last, label=_phase(one), strength=_strength(one))
        for one, last in zip(begun, lasts, strict=True)
    ]


def _phase(step: Document) -> str:
    weight = step.get("weight") or 0.0
    return f"{step.get('state')} {formatting.format_percent(weight, 0)}" if weight else str(step.get("state"))


def _strength(step: Document) -> float:
    return (
        min(0.25 + 0.75 * float(step.get("weight") or 0.0) / MAX_CANARY_WEIGHT, 1.0)
        if step.get("weight")
        else 0.1
    )


def _rollout(rollout: Document) -> str:
    outcome = str(rollout.get("outcome", ""))
    evidence = formatting.flatten_facts(rollout.get("evidence") or {})
    heads = [Head(name="Evidence", number=False), Head(name="Value", number=False)]
    simulated = rollout.get("kind") == "simulated"
    return panel(
        paragraph(_story(rollout), "note"),
        paragraph(str(rollout.get("explanation") or "")),
        timeline([_row(rollout)], title=_title(rollout)) if simulated else "",
        _evidence_chart(rollout),
        details("The evidence in figures", render_table(heads, evidence)) if evidence else "",
        heading=_title(rollout),
        badge_html=badge(formatting.format_outcome(outcome), formatting.OUTCOME_TONES.get(outcome, "muted")),
    )


def _story(rollout: Document) -> str:
    """Format the dates, the duration and the deciding layer in one line."""
    started, ended = (
        formatting.format_day(rollout.get("started")),
        formatting.format_day(rollout.get("ended")),
    )
    parts = [started if started == ended else f"{started} to {ended}"]
    if rollout.get("bars"):
        parts.append(formatting.count_noun(int(rollout["bars"]), "bar"))
    if rollout.get("decided_by"):
        parts.append(f"decided by {_words(rollout['decided_by'], LAYERS)}")
    return " · ".join(parts)


def _evidence_chart(rollout: Document) -> str:
    curves: Mapping[str, Sequence[Sequence[Any]]] = rollout.get("evidence_series") or {}
    shown = {name: points for name, points in curves.items() if points}
    if max(map(len, shown.values()), default=0) < 2:
        # A rollout decided on its first bar has no curve to draw.
        return ""
    chart = LineChart(
        title="Evidence",
        series=[
            LineSeries(
                name=_words(name, TESTS),
                x=[point[0] for point in points],
                y=[point[1] for point in points],
            )
            for name, points in shown.items()
        ],
        label=_odds,
        levels=_bounds(rollout.get("bounds") or {}, set(shown)),
        floor=0.0,
        height=230,
    )  # fmt: skip
    return paragraph(
        "Odds against mere chance, bar by bar; a verdict falls where a line crosses its bound.", "note"
    ) + line_chart(chart)


def _bounds(bounds: Mapping[str, float], shown: set[str]) -> list[Level]:
    """Build the bounds of the displayed tests.

    Bounds with the same consequence share a label.
    """
    levels = []
    for better, label, tone in ((False, "rolled back above", "bad"), (True, "promoted above", "good")):
        values = {round(float(value), 6) for name, value in bounds.items()
                  if name in shown and name.endswith(PROMOTION_SUFFIX) is better}  # fmt: skip
        highest = max(values, default=0.0)
        levels += [
            Level(value=one, label=label if one == highest else "", tone=tone, at_end=better)
            for one in sorted(values)
        ]
    return levels


def _words(name: Any, known: Mapping[str, str]) -> str:
    return known.get(str(name), str(name).replace("_", " "))


def _odds(exponent: float) -> str:
    """Format a power of ten as odds: `1,000 : 1`."""
    if abs(exponent) < 4.5:
        return f"{10**exponent:,.0f} : 1" if exponent >= 0 else f"1 : {10**-exponent:,.0f}"
    return f"10^{exponent:.0f} : 1".replace("-", "−")
