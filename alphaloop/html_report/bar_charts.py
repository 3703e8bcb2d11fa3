"""Bar charts: a histogram of measured values, and named quantities as bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from html import escape

from alphaloop.html_report.scale import Scale, value_ticks
from alphaloop.html_report.svg import (
    CHARACTER_WIDTH,
    Frame,
    bottom_axis,
    drawing,
    first_free_row,
    line,
    rectangle,
    text,
)

Label = Callable[[float], str]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile at `share` by linear interpolation; NaN without values."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    rank = share * (len(ordered) - 1)
    below, above = math.floor(rank), math.ceil(rank)
    return ordered[below] + (ordered[above] - ordered[below]) * (rank - below)


def histogram(
    values: Sequence[float],
    *,
    title: str,
    marks: Sequence[tuple[float, str]] = (),
    label: Label = "{:g}".format,
    bins: int = 48,
    tail: float = 0.995,
) -> str:
    """Draw the distribution of `values` as a histogram.

    The last bar counts all values above the quantile `tail`; `marks` are vertical lines with names.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return '<p class="nothing">Nothing was measured.</p>'
    low, high = min(finite), max(quantile(finite, tail), *(value for value, _ in marks), min(finite) + 1e-9)
    counts = [0] * (bins + 1)
    for value in finite:
        counts[min(int((value - low) / (high - low) * bins), bins)] += 1
    draw = partial(_draw_histogram, counts, (low, high), marks, label)
    wide = Frame(width=920, height=240, left=16, right=16, top=34)
    narrow = Frame(width=380, height=210, left=12, right=12, top=46)
    return drawing(draw, wide, narrow, title)


def _draw_histogram(
    counts: list[int],
    span: tuple[float, float],
    marks: Sequence[tuple[float, str]],
    label: Label,
    frame: Frame,
) -> str:
    low, high = span
    step = (high - low) / (len(counts) - 1)
    x = Scale(low, high + step, *frame.x)
    y = Scale(0, max(counts), *frame.y)
    parts = [line(frame.x[0], frame.y[0], frame.x[1], frame.y[0], "tick")]
    for index, count in enumerate(counts):
        if count:
            first, last = low + index * step, low + (index + 1) * step
            beyond = index == len(counts) - 1
            interval = f"over {label(high)}" if beyond else f"{label(first)} – {label(last)}"
            css = "bar muted" if beyond else "bar one"
            top = min(y(count), frame.y[0] - 1.5)
            width = x(last) - x(first) - 1
            parts.append(rectangle(x(first), top, width, frame.y[0] - top, css, f"{interval}: {count}"))
    rows: list[float] = []
    for value, name in marks:
        caption = f"{name} {label(value)}"
        width = len(caption) * CHARACTER_WIDTH
        start = min(x(value) + 5, frame.x[1] - width)
        height = 12 + 14 * first_free_row(rows, start, start + width)
        parts.append(line(x(value), height - 8, x(value), frame.y[0], "level warn"))
        parts.append(text(start, height, caption, "label strong warn"))
    ticks = value_ticks(low, high, 5 if frame.narrow else 10, label)
    return "".join(parts) + bottom_axis(ticks, x, frame)


def render_bars(entries: Sequence[tuple[str, float]], *, label: Label = "{:g}".format) -> str:
    """Draw named quantities, one line each, with bars in proportion."""
    largest = max((value for _, value in entries), default=0.0) or 1.0
    lines = [
        f'<li><span>{escape(name)}</span><i style="--share:{max(value, 0) / largest:.4f}"></i>'
        f"<b>{escape(label(value))}</b></li>"
        for name, value in entries
    ]
    return f'<ol class="bars">{"".join(lines)}</ol>'
