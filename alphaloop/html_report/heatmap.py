"""Heat maps: a matrix of values as coloured cells with row and column names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from alphaloop.html_report.drawing import (
    NOTHING_TO_DRAW,
    Frame,
    Label,
    drawing,
    hide_overlapping,
    matplotlib_style,
    text_width,
    write,
)
from alphaloop.html_report.svg import tag

if TYPE_CHECKING:
    from alphaloop.html_report.drawing import Axes

MIN_CELL, MAX_CELL, MIN_NAMED_CELL = 5, 24, 9
"""Heights of cells in pixels: the least, the most, and the least beside which a name has room."""


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
        return NOTHING_TO_DRAW
    with matplotlib_style():
        wide, narrow = _frame(chart, 920, 270), _frame(chart, 380, 118)
    return drawing(partial(_draw, chart), wide, narrow, chart.title)


def _frame(chart: Heatmap, width: int, room: int) -> Frame:
    """Return a frame as high as the rows need, with `room` pixels at most for their names.

    Where the columns are the rows, the cells are squares.
    """
    longest = max(text_width(name, _name_css(chart, place)) for place, name in enumerate(chart.rows))
    left = min(math.ceil(longest) + 14, room)
    height = MAX_CELL if chart.columns else (width - left - 8) // len(chart.rows)
    height = min(max(height, MIN_CELL), MAX_CELL)
    top = 26 if chart.columns else 6
    return Frame(
        width=width, height=top + height * len(chart.rows) + 4, left=left, right=8, top=top, bottom=4
    )


def _name_css(chart: Heatmap, row: int) -> str:
    return "label strong" if row in chart.marked else "label"


def _draw(chart: Heatmap, axes: Axes, frame: Frame) -> None:
    rows, count = len(chart.rows), max(map(len, chart.values))
    axes.set_xlim(0, count)
    axes.set_ylim(rows, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    height = frame.plot_height / rows
    width = frame.plot_width / count if chart.columns else min(frame.plot_width / count, height)
    axes.set_xlim(0, frame.plot_width / width)
    if height >= MIN_NAMED_CELL:
        for row, name in enumerate(chart.rows):
            css = _name_css(chart, row)
            shown = _fitting(name, frame.left - 14, css)
            write(axes, (0, row + 0.5), shown, css, offset=(-8, -4), anchor="right")
    hide_overlapping(
        [
            write(axes, (column + 0.5, 0), name, offset=(0, 9), anchor="center")
            for column, name in enumerate(chart.columns)
        ]
    )
    for row, values in enumerate(chart.values):
        present = [
            (column, value)
            for column, value in enumerate(values)
            if value is not None and math.isfinite(value)
        ]
        for tone, negative in ((chart.positive, False), (chart.negative, True)):
            cells = [(column, value) for column, value in present if (value < 0) is negative]
            if cells:
                _draw_cells(chart, axes, row, cells, f"cell {tone}", (width, height), narrow=frame.narrow)
    for before in chart.breaks:
        axes.plot((0, count), (before, before), gid=tag("cut"))
        if not chart.columns:
            axes.plot((before, before), (0, rows), gid=tag("cut"))


def _draw_cells(
    chart: Heatmap,
    axes: Axes,
    row: int,
    cells: Sequence[tuple[int, float]],
    css: str,
    size: tuple[float, float],
    *,
    narrow: bool,
) -> None:
    """Draw cells of one row and one tone."""
    strengths = [min(abs(value) / chart.full_colour_value(), 1.0) for _, value in cells]
    columns = chart.columns or chart.rows
    # The narrow drawing is for phones, which have no pointer to show a tooltip.
    tips = [] if narrow else [
        f"{' · '.join(dict.fromkeys((chart.rows[row], columns[column])))}: {chart.label(value)}"
        for column, value in cells
    ]  # fmt: skip
    gap = 1.0 if min(size) > 8 else 0.0
    axes.broken_barh(
        [(column, 1 - gap / size[0]) for column, _ in cells],
        (row, 1 - gap / size[1]),
        facecolors=[("black", 0.04 + 0.96 * strength) for strength in strengths],
        gid=tag(css, *tips),
    )
    if chart.numbers and not narrow:
        for (column, value), strength in zip(cells, strengths, strict=True):
            shade = "label value" if strength < 0.55 else "label value over"
            at = (column + 0.5, row + 0.5)
            write(axes, at, chart.label(value), shade, offset=(0, -4), anchor="center")


def _fitting(name: str, room: float, css: str) -> str:
    """Shorten `name` in the middle if it is wider than `room` pixels."""
    shown, kept = name, len(name)
    while kept > 3 and text_width(shown, css) > room:
        kept -= 1
        shown = f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
    return shown
