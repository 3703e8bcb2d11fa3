"""Sections of the report on performance and drift, as curves over the traded days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alphaloop.html_report.line_chart import Level, LineChart, LineSeries, Mark, line_chart
from alphaloop.html_report.page import TableColumn, details, panel, render_table, section
from cli import formatting

Document = Mapping[str, Any]
CURVES = (("strategy", "Strategy, net of costs", "one"), ("equal_weight", "Equal weight", "two"),
          ("momentum", "12-1 momentum", "three"))  # fmt: skip


def relative_gains(values: Sequence[float | None]) -> list[float | None]:
    """Compute each value's gain over the first non-zero value; None where missing."""
    base = next((value for value in values if value), None)
    return [value / base - 1 if value and base else None for value in values]


def drawdown_curve(values: Sequence[float | None]) -> list[float | None]:
    """Compute each value's loss from the highest value so far, zero or negative."""
    highest, losses = 0.0, list[float | None]()
    for value in values:
        highest = max(highest, value or 0.0)
        losses.append(value / highest - 1 if value else None)
    return losses


def performance_section(report: Document, series: Document) -> str:
    """Render gain and loss over time, beside equal weight and plain momentum."""
    equity = series.get("equity", {})
    dates = equity.get("dates") or []
    gains = {name: relative_gains(equity.get(name) or []) for name, _, _ in CURVES}
    lines = [
        LineSeries(name=words, x=dates, y=gains[name], tone=tone)
        for name, words, tone in CURVES
        if gains[name]
    ]
    falls = [
        LineSeries(name=words, x=dates, y=drawdown_curve(equity.get(name) or []), tone=tone)
        for name, words, tone in CURVES[:2]
        if equity.get(name)
    ]
    return section(
        "Performance",
        "Signals are taken at a close and filled at the next price one could have had. "
        "All three pay costs; equal weight is set equal again once a year.",
        panel(
            line_chart(
                LineChart(
                    title="Gain since the start", series=lines, label=_gain, marks=_alarm_marks(report, lines)
                )
            ),
            heading="Gain since the start",
            note="Dots mark the bars at which the drift monitor raised an alarm." if _alarms(report) else "",
        ),
        _versions(report),
        panel(
            line_chart(
                LineChart(title="Loss from the last peak", series=falls, label=_gain, floor=0.0, height=190)
            ),
            heading="Loss from the last peak",
        ),
    )


def format_traded_versions(report: Document) -> str:
    """Format the share of each version in one sentence; empty where unknown."""
    rows = list(report.get("trading", {}).get("versions") or [])
    if not rows:
        return ""
    named = [
        f"{formatting.format_share(one.get('share'))} by version {one.get('version')} ({one.get('family')})"
        for one in rows
    ]
    return f"Its decisions were made {formatting.join_names(named)}."


def _versions(report: Document) -> str:
    versions = list(report.get("trading", {}).get("versions") or [])
    intraday = formatting.are_intraday(one.get(end) for one in versions for end in ("first", "last"))
    rows = [
        [
            str(one.get("version")),
            str(one.get("family")),
            formatting.format_time(one.get("first"), intraday=intraday),
            formatting.format_time(one.get("last"), intraday=intraday),
            formatting.format_count(one.get("bars")),
            formatting.format_share(one.get("share_then")),
            formatting.format_share(one.get("share")),
        ]
        for one in versions
    ]
    heads = [
        *(TableColumn(name=name, number=False) for name in ("Version", "Family", "From", "To")),
        *(TableColumn(name=name) for name in ("Bars", "Sleeves then", "Of all")),
    ]
    note = "A gain is that of whoever decided: mostly the champion, a challenger for its share of sleeves."
    return panel(render_table(heads, rows), heading="Which version traded when", note=note) if rows else ""


def _gain(value: float) -> str:
    return formatting.format_percent(value, 0, signed=True)


def _alarms(report: Document) -> list[Document]:
    return list(report.get("drift", {}).get("alarms", []))


def _alarm_marks(report: Document, lines: Sequence[LineSeries]) -> list[Mark]:
    values = (
        {formatting.format_day(x): y for x, y in zip(lines[0].x, lines[0].y, strict=True)} if lines else {}
    )
    marks = []
    for alarm in _alarms(report):
        date = formatting.format_day(alarm.get("date"))
        value = values.get(date)
        if value is not None:
            marks.append(Mark(x=date, y=value, tip=f"drift alarm {date}", tone="bad"))
    return marks


def drift_section(report: Document, series: Document) -> str:
    """Render the drift of the live features, the alarms and the calibration."""
    drift = series.get("drift", {})
    dates, shares = drift.get("dates") or [], drift.get("share") or []
    threshold = drift.get("threshold")
    levels = [Level(value=threshold, label="alarm")] if formatting.is_finite_number(threshold) else []
    at = {formatting.format_day(date): share for date, share in zip(dates, shares, strict=True)}
    marks = [
        Mark(
            x=formatting.format_day(one["date"]),
            y=at[formatting.format_day(one["date"])],
            tip=f"alarm {formatting.format_day(one['date'])}",
        )
        for one in _alarms(report)
        if at.get(formatting.format_day(one.get("date"))) is not None
    ]
    chart = LineChart(
        title="Share of features that have moved away from training",
        series=[LineSeries(name="share", x=dates, y=shares)],
        label=lambda value: formatting.format_percent(value, 0),
        levels=levels,
        marks=marks,
        floor=0.0,
        height=240,
    )
    rows = [
        [
            formatting.format_day(one.get("date")),
            formatting.format_percent(one.get("share"), 0),
            ", ".join(one.get("features", [])),
        ]
        for one in _alarms(report)
    ]
    heads = [
        TableColumn(name="Alarm", number=False),
        TableColumn(name="Share"),
        TableColumn(name="Moved most", number=False),
    ]
    calibration = formatting.flatten_facts(
        drift.get("calibration") or report.get("drift", {}).get("calibration") or {}
    )
    rule = render_table(
        [TableColumn(name="Rule", number=False), TableColumn(name="Value", number=False)], calibration
    )
    return section(
        "Drift",
        "What the model sees live is compared with what it was trained on. Detector, window and threshold "
        "were fixed on the training years alone.",
        panel(line_chart(chart), heading="Share of features that have moved"),
        panel(render_table(heads, rows), heading="Alarms") if rows else "",
        details("How the threshold was set", panel(rule)) if calibration else "",
    )
