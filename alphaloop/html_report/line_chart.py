"""Line charts: series over dates or bars, with a legend, bands, levels and marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from typing import TYPE_CHECKING

from alphaloop.html_report.drawing import (
    NOTHING_TO_DRAW,
    Coordinate,
    Frame,
    Label,
    are_dates,
    drawing,
    fit_left_labels,
    keep_apart,
    keep_inside,
    matplotlib_style,
    position,
    round_values,
    set_span,
    text_width,
    write,
)
from alphaloop.html_report.svg import tag

if TYPE_CHECKING:
    from alphaloop.html_report.drawing import Axes

MAX_NAMED_ENDS = 4
"""Number of lines up to which their last values stand at their ends."""

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
        return NOTHING_TO_DRAW
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
    """Return the pixels right of the plot for the last values."""
    if len(chart.series) > MAX_NAMED_ENDS:
        return 16
    ends = [chart.label(one.points()[-1][1]) for one in chart.series if one.points()]
    with matplotlib_style():
        return math.ceil(max(text_width(end, "label strong") for end in ends)) + 12


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


def _draw(chart: LineChart, axes: Axes, frame: Frame) -> None:
    x_low, x_high, y_low, y_high = chart.extent()
    x_count, y_count = (5, 4) if frame.narrow else (10, 5)
    set_span(axes, x_low, x_high, dates=any(are_dates(one.x) for one in chart.series), count=x_count)
    axes.set_ylim(y_low, y_high)
    axes.grid(axis="y")
    round_values(axes.yaxis, y_count, chart.label)
    fit_left_labels(axes)
    _draw_bands(chart.bands, axes, frame)
    _draw_levels(chart.levels, axes)
    # The first series is the most important and is drawn on top.
    for one in reversed(chart.series):
        dash = " dashed" if one.dashed else ""
        y = [math.nan if value is None else value for value in one.y]
        axes.plot([position(at) for at in one.x], y, gid=tag(f"line {one.tone}{dash}"))
    for mark in chart.marks:
        axes.plot(position(mark.x), mark.y, "o", markersize=9, gid=tag(f"mark {mark.tone}", mark.tip))
    if chart.x_title:
        write(axes, (1, 0), chart.x_title, offset=(0, 6), anchor="right", of=axes.transAxes)
    if not frame.narrow and len(chart.series) <= MAX_NAMED_ENDS:
        _write_last_values(chart, axes)


def _draw_bands(bands: Sequence[Band], axes: Axes, frame: Frame) -> None:
    low, high = axes.get_xlim()
    labels = []
    for band in sorted(bands, key=lambda one: position(one.first)):
        first, last = (min(max(position(end), low), high) for end in (band.first, band.last))
        axes.axvspan(first, last, gid=tag(f"band {band.tone}", band.label))
        if not frame.narrow:
            labels.append(
                write(axes, (first, 1), band.label, f"label {band.tone}",
                      offset=(4, -12), of=axes.get_xaxis_transform())
            )  # fmt: skip
            keep_inside(axes, labels[-1])
    keep_apart(labels, towards=axes.bbox.y0)


def _draw_levels(levels: Sequence[Level], axes: Axes) -> None:
    """Draw horizontal lines with their labels above; the margin fits a label above the highest."""
    for level in levels:
        axes.axhline(level.value, gid=tag(f"level {level.tone}"))
        x, offset, anchor = (1, -6, "right") if level.at_end else (0, 6, "left")
        write(axes, (x, level.value), level.label, f"label {level.tone}",
              offset=(offset, 5), anchor=anchor, of=axes.get_yaxis_transform())  # fmt: skip


def _write_last_values(chart: LineChart, axes: Axes) -> None:
    """Write the last values beside the ends of the lines, moved towards the middle where they are close."""
    middle = (axes.bbox.y0 + axes.bbox.y1) / 2
    labels = [
        write(axes, (1, one.points()[-1][1]), chart.label(one.points()[-1][1]), f"label strong {one.tone}",
              offset=(8, -4), of=axes.get_yaxis_transform())
        for one in chart.series if one.points()
    ]  # fmt: skip
    outermost_first = sorted(labels, key=lambda one: -abs(one.get_window_extent().y0 - middle))
    keep_apart(outermost_first, towards=middle)
