"""Heat maps: a matrix of values as coloured cells with row and column names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from alphaloop.html_report.svg import CHARACTER_WIDTH, Frame, drawing, line, text

Label = Callable[[float], str]
STRONG_CHARACTER_WIDTH = 7.4
"""Average width of a character in strong type, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heatmap:
    """The content of a heat map: `values[row][column]`, None or NaN for an empty cell.

    The colour of a cell is `positive` from 0 on and `negative` below, as strong as the value is close to
    `largest` (by default the largest by size). `columns` may be empty where rows and columns are the same.
    `marked` rows have their names in strong type; `breaks` are rows (and, without `columns`, columns) before
    which a line is drawn. `numbers` writes the values into the cells.
    """

    title: str
    rows: Sequence[str]
    values: Sequence[Sequence[float | None]]
    columns: Sequence[str] = ()
    label: Label = "{:.2f}".format
    largest: float | None = None
    marked: Sequence[int] = ()
    breaks: Sequence[int] = ()
    numbers: bool = False
    positive: str = "one"
    negative: str = "bad"

    def full_colour_value(self) -> float:
        """Return the value that is drawn in full colour."""
        if self.largest is not None:
            return self.largest
        finite = [abs(one) for row in self.values for one in row if one is not None and math.isfinite(one)]
        return max(finite, default=0.0) or 1.0


def heatmap(chart: Heatmap) -> str:
    """Draw `chart`, or a note where there is nothing to draw."""
    if not chart.rows or not any(len(row) for row in chart.values):
        return '<p class="nothing">Nothing was recorded to draw here.</p>'
    return drawing(
        partial(_draw, chart), _frame(chart, 920, 30, 270), _frame(chart, 380, 18, 118), chart.title
    )


def _frame(chart: Heatmap, width: int, longest: int, room: int) -> Frame:
    """Return a frame as high as the rows need.

    Where the columns are the rows, the cells are squares.
    """
    character = STRONG_CHARACTER_WIDTH if chart.marked else CHARACTER_WIDTH
    left = min(int(max(min(len(name), longest) for name in chart.rows) * character) + 18, room)
    across = width - left - 8
    height = 24 if chart.columns else across // len(chart.rows)
    height = min(max(height, 5), 24)
    top = 26 if chart.columns else 6
    return Frame(
        width=width, height=top + height * len(chart.rows) + 4, left=left, right=8, top=top, bottom=4
    )


def _draw(chart: Heatmap, frame: Frame) -> str:
    height = (frame.y[0] - frame.y[1]) / len(chart.rows)
    count = max(len(row) for row in chart.values)
    width = (frame.x[1] - frame.x[0]) / count
    if not chart.columns:
        width = min(width, height)
    parts = []
    for index, (name, row) in enumerate(zip(chart.rows, chart.values, strict=True)):
        top = frame.top + index * height
        if height >= 9:
            css = "label strong" if index in chart.marked else "label"
            shown = _fitting(
                name, frame.left - 14, STRONG_CHARACTER_WIDTH if index in chart.marked else CHARACTER_WIDTH
            )
            parts.append(text(frame.left - 8, top + height / 2 + 4, shown, css, "end"))
        parts += _cells(chart, index, row, (frame.left, top, width, height), narrow=frame.narrow)
    parts += _column_names(chart, frame, width)
    for before in chart.breaks:
        at = frame.top + before * height
        parts.append(line(frame.left, at, frame.left + width * count, at, "cut"))
        if not chart.columns:
            across = frame.left + before * width
            parts.append(line(across, frame.top, across, frame.top + height * len(chart.rows), "cut"))
    return "".join(parts)


def _cells(
    chart: Heatmap,
    index: int,
    row: Sequence[float | None],
    box: tuple[float, float, float, float],
    *,
    narrow: bool,
) -> list[str]:
    left, top, width, height = box
    gap = 1.0 if min(width, height) > 8 else 0.0
    parts = []
    for column_index, value in enumerate(row):
        if value is None or not math.isfinite(value):
            continue
        tone = chart.positive if value >= 0 else chart.negative
        strength = min(abs(value) / chart.full_colour_value(), 1.0)
        column = (chart.columns or chart.rows)[column_index]
        x = left + column_index * width
        # The narrow drawing is for phones, which have no pointer to show a tooltip.
        tip = "" if narrow else f"<title>{_escaped(chart.rows[index], column)}: {chart.label(value)}</title>"
        parts.append(
            f'<rect x="{x:.1f}" y="{top:.1f}" width="{width - gap:.1f}" height="{height - gap:.1f}" '
            f'class="cell {tone}" style="opacity:{0.04 + 0.96 * strength:.2f}">{tip}</rect>'
        )
        if chart.numbers and not narrow:
            css = "label value" if strength < 0.55 else "label value over"
            parts.append(text(x + width / 2, top + height / 2 + 4, chart.label(value), css, "middle"))
    return parts


def _column_names(chart: Heatmap, frame: Frame, width: float) -> list[str]:
    """Draw the names above the columns, except those that would overlap the previous one."""
    parts, used = [], -math.inf
    for index, name in enumerate(chart.columns):
        centre, half = frame.left + (index + 0.5) * width, len(name) * CHARACTER_WIDTH / 2
        if centre - half > used + 4:
            parts.append(text(centre, frame.top - 9, name, "label", "middle"))
            used = centre + half
    return parts


def _fitting(name: str, room: float, character: float) -> str:
    """Shorten `name` in the middle if it is wider than `room` pixels."""
    most = max(int(room / character), 4)
    if len(name) <= most:
        return name
    kept = most - 1
    return f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"


def _escaped(*names: str) -> str:
    from html import escape

    return " · ".join(escape(name) for name in dict.fromkeys(names))
