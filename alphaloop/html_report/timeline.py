"""Timelines: the states of several subjects over time, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from alphaloop.html_report.drawing import (
    NOTHING_TO_DRAW,
    Coordinate,
    Frame,
    are_dates,
    drawing,
    keep_inside,
    position,
    set_span,
    write,
)
from alphaloop.html_report.svg import tag

if TYPE_CHECKING:
    from alphaloop.html_report.drawing import Axes

ROW_HEIGHT, BAR_HEIGHT = 46, 16
"""Heights of a row, and of the bar at its foot, in pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One state from `first` to `last`; `strength` of its colour is 0 … 1."""

    first: Coordinate
    last: Coordinate
    label: str
    strength: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineRow:
    """One subject with its states in order and its outcome."""

    label: str
    segments: Sequence[Segment]
    outcome: str = ""
    tone: str = "muted"


def timeline(
    rows: Sequence[TimelineRow], *, title: str, span: tuple[Coordinate, Coordinate] | None = None
) -> str:
    """Draw `rows` below each other over a common axis.

    The axis covers `span`, and everything that is drawn.
    """
    shown = [row for row in rows if row.segments]
    if not shown:
        return NOTHING_TO_DRAW
    height = ROW_HEIGHT * len(shown) + 30
    return drawing(
        partial(_draw, shown, span),
        Frame(width=920, height=height, left=8, right=8, top=2),
        Frame(width=380, height=height, left=6, right=6, top=2),
        title,
    )


def _draw(
    rows: Sequence[TimelineRow], span: tuple[Coordinate, Coordinate] | None, axes: Axes, frame: Frame
) -> None:
    ends = [end for row in rows for one in row.segments for end in (one.first, one.last)] + list(span or ())
    low, high = min(map(position, ends)), max(map(position, ends))
    set_span(axes, low, high, dates=are_dates(ends), count=5 if frame.narrow else 10)
    axes.set_ylim(frame.plot_height, 0)  # pixels from the top
    axes.yaxis.set_visible(False)
    axes.grid(axis="x")
    for place, row in enumerate(rows):
        _row(row, place * ROW_HEIGHT, axes)


def _row(row: TimelineRow, top: float, axes: Axes) -> None:
    caption = f"{row.label} · {row.outcome}" if row.outcome else row.label
    start, end = position(row.segments[0].first), position(row.segments[-1].last)
    keep_inside(axes, write(axes, (start, top + 15), caption, f"label strong {row.tone}"))
    axes.broken_barh(
        [(position(one.first), position(one.last) - position(one.first)) for one in row.segments],
        (top + 21, BAR_HEIGHT),
        facecolors=[("black", 0.25 + 0.75 * one.strength) for one in row.segments],
        gid=tag(f"segment {row.tone}", *(one.label for one in row.segments)),
    )
    axes.plot(end, top + 21 + BAR_HEIGHT / 2, "o", markersize=11, gid=tag(f"mark {row.tone}"))
