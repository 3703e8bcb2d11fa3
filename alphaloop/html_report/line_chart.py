"""Line charts: series over dates or bars, with a legend, bands, levels and marks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape

from alphaloop.html_report.scale import Coordinate, Scale, are_dates, date_ticks, position, value_ticks
from alphaloop.html_report.svg import (
    CHARACTER_WIDTH,
    Frame,
    bottom_axis,
    drawing,
    first_free_row,
    left_axis,
    line,
    rectangle,
    spread_labels,
    text,
)

Label = Callable[[float], str]

LINE_TONES = ("one", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "two")
"""The style sheet's colours for lines, in the order of use."""
_SAME_COLOUR = {"muted": "two"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LineSeries:
    """A line of a chart; `x` are ISO dates or numbers.

    A `y` that is None or not finite leaves a gap. `tone` is one of the style sheet's colours: `one` … `ten`,
    `good`, `bad`, `warn`, `muted`. A chart changes the colour of a line if an earlier line has the same.
    """

    name: str
    x: Sequence[Coordinate]
    y: Sequence[float | None]
    tone: str = "one"
    dashed: bool = False

    def points(self) -> list[tuple[float, float]]:
        """Return the finite points, with x as numbers."""
        pairs = zip(self.x, self.y, strict=True)
        return [(position(x), y) for x, y in pairs if y is not None and math.isfinite(y)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A shaded range of the x axis with a label."""

    first: Coordinate
    last: Coordinate
    label: str
    tone: str = "muted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A horizontal line for a threshold or a bound.

    The label is at the start of the line, or with `at_end` at its end. Of several levels close to each other,
    label only the highest.
    """

    value: float
    label: str = ""
    tone: str = "bad"
    at_end: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A dot in the plot, with a tooltip."""

    x: Coordinate
    y: float
    tip: str
    tone: str = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """The content of a line chart.

    `label` formats values of y; `floor` is a value that the y axis always includes.
    """

    title: str
    series: Sequence[LineSeries]
    label: Label = "{:g}".format
    bands: Sequence[Band] = ()
    levels: Sequence[Level] = ()
    marks: Sequence[Mark] = ()
    floor: float | None = None
    height: int = 300
    x_title: str = ""

    def extent(self) -> tuple[float, float, float, float]:
        """Return the lowest and highest x, then y, over everything that is drawn."""
        points = [point for one in self.series for point in one.points()]
        xs = [x for x, _ in points] + [position(mark.x) for mark in self.marks]
        ys = [y for _, y in points] + [level.value for level in self.levels] + [mark.y for mark in self.marks]
        if self.floor is not None:
            ys.append(self.floor)
        if not points:
            return 0.0, 1.0, 0.0, 1.0
        low, high = min(ys), max(ys)
        pad = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return min(xs), max(xs), low if low == self.floor else low - pad, high + pad


def line_chart(chart: LineChart) -> str:
    """Draw `chart` with distinguishable lines, or a note where there is nothing to draw."""
    if not any(one.points() for one in chart.series):
        return '<p class="nothing">Nothing was recorded to draw here.</p>'
    chart = replace(chart, series=_told_apart(chart.series))
    wide = Frame(width=920, height=chart.height, right=_label_room(chart))
    narrow = Frame(width=380, height=min(chart.height, 250), left=44, right=12)
    return _legend(chart) + drawing(partial(_draw, chart), wide, narrow, chart.title)


def _told_apart(series: Sequence[LineSeries]) -> list[LineSeries]:
    """Give each line its own colour, or dashes where colours run out."""
    distinct, taken = list[LineSeries](), set[tuple[str, bool]]()
    for one in series:
        own = (_SAME_COLOUR.get(one.tone, one.tone), one.dashed)
        colours = {tone for tone, _ in taken}
        free = [(tone, one.dashed) for tone in LINE_TONES if tone not in colours]
        spare = [(tone, True) for tone in LINE_TONES if (tone, True) not in taken]
        tone, dashed = own if own[0] not in colours else next(iter((*free, *spare, own)))
        taken.add((tone, dashed))
        distinct.append(replace(one, tone=one.tone if tone == own[0] else tone, dashed=dashed))
    return distinct


def _label_room(chart: LineChart) -> int:
    """Return the pixels right of the plot for the last values.

    With many lines there are no such labels.
    """
    if len(chart.series) > 4:
        return 16
    longest = max((len(chart.label(one.points()[-1][1])) for one in chart.series if one.points()), default=0)
    return int(longest * CHARACTER_WIDTH) + 18


def _legend(chart: LineChart) -> str:
    if len(chart.series) < 2:
        return ""
    entries = []
    for one in chart.series:
        points = one.points()
        last = f" <b>{escape(chart.label(points[-1][1]))}</b>" if points else ""
        dash = " dashed" if one.dashed else ""
        entries.append(f'<li><i class="swatch {one.tone}{dash}"></i>{escape(one.name)}{last}</li>')
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _draw(chart: LineChart, frame: Frame) -> str:
    x_low, x_high, y_low, y_high = chart.extent()
    x, y = Scale(x_low, x_high, *frame.x), Scale(y_low, y_high, *frame.y)
    dates = any(are_dates(one.x) for one in chart.series)
    x_count, y_count = (5, 4) if frame.narrow else (10, 5)
    x_ticks = (
        date_ticks(x_low, x_high, x_count) if dates else value_ticks(x_low, x_high, x_count, "{:g}".format)
    )
    parts = [
        _bands(chart.bands, x, frame),
        left_axis(value_ticks(y_low, y_high, y_count, chart.label), y, frame),
        bottom_axis(x_ticks, x, frame),
        _levels(chart.levels, y, frame),
        # The first series is the most important and is drawn on top.
        *(_path(one, x, y) for one in reversed(chart.series)),
        *(_mark(mark, x, y) for mark in chart.marks),
    ]
    if chart.x_title:
        parts.append(text(frame.x[1], frame.y[0] - 6, chart.x_title, "label", "end"))
    if not frame.narrow and len(chart.series) <= 4:
        parts.append(_last_values(chart, y, frame))
    return "".join(parts)


def _path(one: LineSeries, x: Scale, y: Scale) -> str:
    commands, pen = [], "M"
    for at, value in zip(one.x, one.y, strict=True):
        if value is None or not math.isfinite(value):
            pen = "M"
            continue
        commands.append(f"{pen}{x(position(at)):.1f} {y(value):.1f}")
        pen = "L"
    dash = " dashed" if one.dashed else ""
    return f'<path d="{"".join(commands)}" class="line {one.tone}{dash}"/>'


def _bands(bands: Sequence[Band], x: Scale, frame: Frame) -> str:
    drawn, rows = [], list[float]()
    for band in sorted(bands, key=lambda one: position(one.first)):
        first = min(max(x(position(band.first)), frame.x[0]), frame.x[1])
        last = min(max(x(position(band.last)), frame.x[0]), frame.x[1])
        top, bottom = frame.y[1], frame.y[0]
        drawn.append(rectangle(first, top, last - first, bottom - top, f"band {band.tone}", band.label))
        if not frame.narrow:
            width = len(band.label) * CHARACTER_WIDTH
            start = min(first + 4, frame.x[1] - width)
            row = first_free_row(rows, start, start + width)
            drawn.append(text(start, top + 12 + 14 * row, band.label, f"label {band.tone}"))
    return "".join(drawn)


def _levels(levels: Sequence[Level], y: Scale, frame: Frame) -> str:
    """Draw horizontal lines with their labels above; the margin fits a label above the highest."""
    drawn = []
    for level in levels:
        at = y(level.value)
        drawn.append(line(frame.x[0], at, frame.x[1], at, f"level {level.tone}"))
        label_x, anchor = (frame.x[1] - 6, "end") if level.at_end else (frame.x[0] + 6, "start")
        drawn.append(text(label_x, at - 5, level.label, f"label {level.tone}", anchor))
    return "".join(drawn)


def _mark(mark: Mark, x: Scale, y: Scale) -> str:
    return (
        f'<circle cx="{x(position(mark.x)):.1f}" cy="{y(mark.y):.1f}" r="4.5" class="mark {mark.tone}">'
        f"<title>{escape(mark.tip)}</title></circle>"
    )


def _last_values(chart: LineChart, y: Scale, frame: Frame) -> str:
    ended = [(one, one.points()[-1][1]) for one in chart.series if one.points()]
    label_ys = spread_labels([y(value) for _, value in ended], 14, frame.y[1] + 4, frame.y[0] - 2)
    return "".join(
        text(frame.x[1] + 8, label_y + 4, chart.label(value), f"label strong {one.tone}")
        for (one, value), label_y in zip(ended, label_ys, strict=True)
    )
