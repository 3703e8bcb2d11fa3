"""Timelines: the states of several subjects over time, one row each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from alphaloop.html_report.scale import Coordinate, Scale, are_dates, date_ticks, position, value_ticks
from alphaloop.html_report.svg import CHARACTER_WIDTH, Frame, bottom_axis, drawing, line, rectangle, text

ROW_HEIGHT = 46
"""Height of a row in pixels."""


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
        return '<p class="nothing">Nothing was recorded to draw here.</p>'
    height = ROW_HEIGHT * len(shown) + 30
    draw = partial(_draw, shown, span)
    return drawing(
        draw,
        Frame(width=920, height=height, left=8, right=8, top=2),
        Frame(width=380, height=height, left=6, right=6, top=2),
        title,
    )


def _draw(rows: Sequence[TimelineRow], span: tuple[Coordinate, Coordinate] | None, frame: Frame) -> str:
    ends = [end for row in rows for one in row.segments for end in (one.first, one.last)] + list(span or ())
    low, high = min(map(position, ends)), max(map(position, ends))
    x = Scale(low, high, *frame.x)
    count = 5 if frame.narrow else 10
    ticks = date_ticks(low, high, count) if are_dates(ends) else value_ticks(low, high, count, "{:g}".format)
    grid = [line(x(value), frame.y[1], x(value), frame.y[0], "grid") for value, _ in ticks]
    body = [_row(row, index, x, frame) for index, row in enumerate(rows)]
    return "".join(grid + body) + bottom_axis(ticks, x, frame)


def _row(row: TimelineRow, index: int, x: Scale, frame: Frame) -> str:
    top = frame.top + index * ROW_HEIGHT
    start, end = x(position(row.segments[0].first)), x(position(row.segments[-1].last))
    caption = f"{row.label} · {row.outcome}" if row.outcome else row.label
    width = len(caption) * CHARACTER_WIDTH
    at = max(min(start, frame.x[1] - width), frame.x[0])
    parts = [text(at, top + 15, caption, f"label strong {row.tone}")]
    for one in row.segments:
        first, last = x(position(one.first)), x(position(one.last))
        box = rectangle(first, top + 21, last - first, 16, f"segment {row.tone}", one.label)
        parts.append(f'<g style="opacity:{0.25 + 0.75 * one.strength:.2f}">{box}</g>')
    parts.append(f'<circle cx="{end:.1f}" cy="{top + 29:.1f}" r="5.5" class="mark {row.tone}"/>')
    return "".join(parts)
