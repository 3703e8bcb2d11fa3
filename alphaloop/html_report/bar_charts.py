"""Bar charts: a histogram of measured values, and named quantities as bars."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from alphaloop.html_report.drawing import Frame, Label, drawing, keep_apart, keep_inside, round_values, write
from alphaloop.html_report.svg import tag

if TYPE_CHECKING:
    from alphaloop.html_report.drawing import Axes

MIN_BAR_HEIGHT = 1.5
"""Height at which also a count of one can be seen, in pixels."""


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
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite):
        return '<p class="nothing">Nothing was measured.</p>'
    low = finite.min()
    high = max(np.quantile(finite, tail), *(value for value, _ in marks), low + 1e-9)
    edges = np.linspace(low, high, bins + 1)
    edges = np.append(edges, high + edges[1] - edges[0])
    counts, _ = np.histogram(np.minimum(finite, edges[-1]), edges)
    draw = partial(_draw_histogram, counts.tolist(), edges.tolist(), marks, label)
    wide = Frame(width=920, height=240, left=16, right=16, top=34)
    narrow = Frame(width=380, height=210, left=12, right=12, top=46)
    return drawing(draw, wide, narrow, title)


def _draw_histogram(
    counts: list[int],
    edges: list[float],
    marks: Sequence[tuple[float, str]],
    label: Label,
    axes: Axes,
    frame: Frame,
) -> None:
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, max(counts))
    axes.yaxis.set_visible(False)
    round_values(axes.xaxis, 5 if frame.narrow else 10, label)
    axes.axhline(0, gid=tag("tick"))
    widths = [last - first - (edges[-1] - edges[0]) / frame.plot_width for first, last in pairwise(edges)]
    least = MIN_BAR_HEIGHT * max(counts) / frame.plot_height
    heights = [max(count, least) if count else 0 for count in counts]
    spans = [f"{label(first)} – {label(last)}" for first, last in pairwise(edges)]
    spans[-1] = f"over {label(edges[-2])}"
    bars = axes.bar(edges[:-1], heights, widths, align="edge")
    for bar, span, count in zip(bars, spans, counts, strict=True):
        bar.set_gid(tag("bar muted" if bar is bars[-1] else "bar one", f"{span}: {count}"))
        bar.set_visible(count > 0)
    names = [
        write(axes, (value, 1), f"{name} {label(value)}", "label strong warn",
              offset=(5, frame.top - 12), of=axes.get_xaxis_transform())
        for value, name in marks
    ]  # fmt: skip
    for name in names:
        keep_inside(axes, name)
    keep_apart(names, towards=axes.bbox.y0)
    for (value, _), name in zip(marks, names, strict=True):
        top = 1 + (name.get_window_extent().y0 - axes.bbox.y1) / frame.plot_height
        axes.axvline(value, 0, top, gid=tag("level warn"), clip_on=False)


def render_bars(entries: Sequence[tuple[str, float]], *, label: Label = "{:g}".format) -> str:
    """Draw named quantities, one line each, with bars in proportion."""
    largest = max((value for _, value in entries), default=0.0) or 1.0
    lines = [
        f'<li><span>{escape(name)}</span><i style="--share:{max(value, 0) / largest:.4f}"></i>'
        f"<b>{escape(label(value))}</b></li>"
        for name, value in entries
    ]
    return f'<ol class="bars">{"".join(lines)}</ol>'
