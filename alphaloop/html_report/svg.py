"""SVG elements of all charts, each drawn for wide and for narrow pages.

A single scaled drawing would have labels too small to read on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape

from alphaloop.html_report.scale import Scale, Tick

CHARACTER_WIDTH = 6.1
"""Average width of a character in an 11 pixel label, in pixels."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a drawing and the margins around its plot, in pixels."""

    width: int
    height: int
    left: int = 52
    right: int = 16
    top: int = 14
    bottom: int = 26

    @property
    def narrow(self) -> bool:
        """True for the drawing for a narrow page."""
        return self.width < 600

    @property
    def x(self) -> tuple[int, int]:
        """First and last pixel of the plot, from left to right."""
        return self.left, self.width - self.right

    @property
    def y(self) -> tuple[int, int]:
        """Bottom and top pixel of the plot."""
        return self.height - self.bottom, self.top


def drawing(draw: Callable[[Frame], str], wide: Frame, narrow: Frame, title: str) -> str:
    """Draw a chart for both page widths; the style sheet shows the one that fits.

    `title` is read by screen readers.
    """
    parts = []
    for name, frame in (("wide", wide), ("narrow", narrow)):
        parts.append(
            f'<svg class="{name}" viewBox="0 0 {frame.width} {frame.height}" role="img" '
            f'aria-label="{escape(title)}">{draw(frame)}</svg>'
        )
    return f'<div class="chart">{"".join(parts)}</div>'


def text(x: float, y: float, content: str, css: str = "", anchor: str = "start") -> str:
    """Draw a label."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{css}">{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    """Draw a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{css}"/>'


def rectangle(x: float, y: float, width: float, height: float, css: str, tip: str = "") -> str:
    """Draw a box; `tip` is its tooltip."""
    hint = f"<title>{escape(tip)}</title>" if tip else ""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.5):.1f}" height="{max(height, 0):.1f}" '
        f'class="{css}">{hint}</rect>'
    )


def bottom_axis(ticks: Iterable[Tick], scale: Scale, frame: Frame) -> str:
    """Draw the labels below the plot, without cut-off or overlapping ones."""
    drawn, used = [], -1e9
    for value, label in ticks:
        x, half = scale(value), len(label) * CHARACTER_WIDTH / 2
        centre = min(max(x, half + 2), frame.width - half - 2)
        if centre - half < used + 6:
            continue
        used = centre + half
        drawn.append(line(x, frame.y[0], x, frame.y[0] + 4, "tick"))
        drawn.append(text(centre, frame.height - 8, label, "label", "middle"))
    return "".join(drawn)


def left_axis(ticks: Iterable[Tick], scale: Scale, frame: Frame) -> str:
    """Draw grid lines across the plot with their labels on the left."""
    drawn = []
    for value, label in ticks:
        y = scale(value)
        drawn.append(line(frame.x[0], y, frame.x[1], y, "grid"))
        drawn.append(text(frame.x[0] - 8, y + 4, label, "label", "end"))
    return "".join(drawn)


def spread_labels(positions: list[float], gap: float, low: float, high: float) -> list[float]:
    """Move `positions` as little as needed to be `gap` apart.

    They stay in their order and within `low … high`.
    """
    order = sorted(range(len(positions)), key=positions.__getitem__)
    placed = list(positions)
    previous = low - gap
    for index in order:
        previous = placed[index] = max(placed[index], previous + gap)
    limit = high
    for index in reversed(order):
        placed[index] = min(placed[index], limit)
        limit = placed[index] - gap
    return placed


def first_free_row(rows: list[float], start: float, end: float) -> int:
    """Return the first row that is free at `start`, and occupy it until `end`."""
    for index, used in enumerate(rows):
        if start >= used + 6:
            rows[index] = end
            return index
    rows.append(end)
    return len(rows) - 1
