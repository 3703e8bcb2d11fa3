"""Drawing of charts with matplotlib, each for wide and for narrow pages.

A single scaled drawing would have labels too small to read on a phone. Only this module imports matplotlib.
Pixels of the page are matplotlib's points, and text is measured in its own font, which is a wide one: what
keeps apart here keeps apart in the font of the page. Keeping labels apart is ours, because matplotlib has no
placement of labels that avoids overlaps.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from alphaloop.html_report.svg import inline_svg, tag

if TYPE_CHECKING:
    from matplotlib import axes as matplotlib_axes
    from matplotlib.axis import Axis
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox, Transform

    Axes: TypeAlias = matplotlib_axes.Axes

Coordinate = str | float
Label = Callable[[float], str]

NOTHING_TO_DRAW = '<p class="nothing">Nothing was recorded to draw here.</p>'
LABEL_SIZE, STRONG_LABEL_SIZE = 11, 12
"""Sizes of labels in the style sheet, in pixels."""
_FONT = "DejaVu Sans"  # comes with matplotlib
_OWN_STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": LABEL_SIZE,
    "axes.axisbelow": True,
    "xtick.major.pad": 6,
    "ytick.major.size": 0,
    "ytick.major.pad": 8,
}
_NICE_STEPS = (1, 2, 2.5, 5, 10)


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
    def plot_width(self) -> int:
        """Width of the plot between the margins, in pixels."""
        return self.width - self.left - self.right

    @property
    def plot_height(self) -> int:
        """Height of the plot between the margins, in pixels."""
        return self.height - self.top - self.bottom


def drawing(draw: Callable[[Axes, Frame], None], wide: Frame, narrow: Frame, title: str) -> str:
    """Draw a chart for both page widths; the style sheet shows the one that fits.

    Parameters
    ----------
    draw
        Draws into empty axes. Objects with a `tag` as their `gid` get its classes and its tooltip.
    wide, narrow
        The sizes of the two drawings.
    title
        What screen readers say.
    """
    with matplotlib_style():
        parts = [
            inline_svg(_document(draw, frame), css, title)
            for css, frame in (("wide", wide), ("narrow", narrow))
        ]
    return f'<div class="chart">{"".join(parts)}</div>'


def _document(draw: Callable[[Axes, Frame], None], frame: Frame) -> str:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(frame.width / 72, frame.height / 72), dpi=72)
    canvas = FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_axes(
        (
            frame.left / frame.width,
            frame.bottom / frame.height,
            frame.plot_width / frame.width,
            frame.plot_height / frame.height,
        ),
        frame_on=False,
    )
    draw(axes, frame)
    document = io.StringIO()
    canvas.print_svg(document, metadata={"Date": None})
    return document.getvalue()


@contextmanager
def matplotlib_style() -> Iterator[None]:
    """Draw in a style of our own; that of the process or the user is restored at the end."""
    _load_matplotlib()
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the page has fonts of its own
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_OWN_STYLE)
        yield


def _load_matplotlib() -> None:
    """Import matplotlib; it keeps its list of fonts where it has a folder already, or not at all."""
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "matplotlib"
    with TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = str(cache) if cache.is_dir() else folder
        try:
            importlib.import_module("matplotlib.font_manager")
        finally:
            del os.environ["MPLCONFIGDIR"]


def text_width(content: str, css: str = "label") -> float:
    """Measure a label with the classes `css`, in pixels."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(**_font(css))
    return float(text_to_path.get_text_width_height_descent(content, font, ismath=False)[0])


def _font(css: str) -> dict[str, Any]:
    strong = "strong" in css.split()
    return {
        "family": _FONT,
        "size": STRONG_LABEL_SIZE if strong else LABEL_SIZE,
        "weight": "bold" if strong else "normal",
    }


def write(
    axes: Axes,
    at: tuple[float, float],
    content: str,
    css: str = "label",
    *,
    offset: tuple[float, float] = (0, 0),
    anchor: str = "left",
    of: Transform | None = None,
) -> Text:
    """Write a label on its baseline, `offset` pixels right of and above the point `at`.

    `at` is in values of the axes, or in the coordinates `of` this transform.
    """
    from matplotlib.transforms import Affine2D

    return axes.text(
        *at,
        content,
        gid=tag(css),
        ha=anchor,
        va="baseline",
        transform=(of or axes.transData) + Affine2D().translate(*offset),
        **_font(css),
    )


def keep_inside(axes: Axes, one: Text) -> None:
    """Move a label that reaches beyond the right or the left side of the plot back to that side."""
    box = one.get_window_extent()
    _move(one, max(min(0, axes.bbox.x1 - box.x1), axes.bbox.x0 - box.x0), 0)


def keep_apart(texts: Sequence[Text], towards: float) -> None:
    """Move each label that lies over an earlier one to the next free place in the direction of a height.

    `towards` is that height, in pixels from the foot of the drawing.
    """
    taken: list[Bbox] = []
    for one in texts:
        box = start = one.get_window_extent()
        step = math.copysign(1.0, towards - box.y0)
        while any(box.overlaps(other) for other in taken):
            box = box.translated(0, step)
        _move(one, 0, box.y0 - start.y0)
        taken.append(box)


def _move(one: Text, right: float, up: float) -> None:
    from matplotlib.transforms import Affine2D

    one.set_transform(one.get_transform() + Affine2D().translate(right, up))


def hide_overlapping(texts: Sequence[Text]) -> None:
    """Hide labels that lie over an earlier one."""
    taken: list[Bbox] = []
    for one in texts:
        box = one.get_window_extent()
        one.set_visible(not any(box.padded(2).overlaps(other) for other in taken))
        if one.get_visible():
            taken.append(box)


def position(value: Coordinate) -> float:
    """Convert an x value to a number; ISO dates and timestamps count in days since 1970."""
    if isinstance(value, str):
        return float(date.fromisoformat(value[:10]).toordinal() - date(1970, 1, 1).toordinal())
    return float(value)


def are_dates(values: Sequence[Coordinate]) -> bool:
    """Test whether the x values are ISO dates."""
    return bool(values) and isinstance(values[0], str)


def set_span(axes: Axes, low: float, high: float, *, dates: bool, count: int) -> None:
    """Let the x axis reach from `low` to `high`, with at most about `count` dates or round numbers."""
    axes.set_xlim(*((low, high) if high > low else (low - 0.5, high + 0.5)))
    if not dates:
        round_values(axes.xaxis, count, "{:g}".format)
        return
    days = _date_ticks(low, high, count)
    axes.set_xticks([position(day.isoformat()) for day in days], _date_labels(days))


def round_values(axis: Axis, count: int, label: Label) -> None:
    """Name at most about `count` round values on an axis."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(count, steps=_NICE_STEPS))
    axis.set_major_formatter(lambda value, _: label(value))


def fit_left_labels(axes: Axes) -> None:
    """Make the plot narrower where the labels on its left would reach beyond the drawing."""
    labels = axes.yaxis.get_tightbbox()
    if labels is not None and labels.x0 < 0:
        left, bottom, width, height = axes.get_position().bounds
        more = -labels.x0 / axes.figure.bbox.width
        axes.set_position((left + more, bottom, width - more, height))


def _date_ticks(low: float, high: float, count: int) -> list[datetime]:
    from matplotlib.dates import AutoDateLocator, DayLocator, num2date

    # The automatic choice would divide a few days into hours.
    few = high - low < count
    locator = DayLocator() if few else AutoDateLocator(minticks=(count - 1) // 2, maxticks=count)
    ticks = locator.tick_values(num2date(low), num2date(high))
    return [num2date(one) for one in ticks if low <= one <= high]


def _date_labels(days: Sequence[datetime]) -> list[str]:
    """Name years, months (the first one and each January with the year), or days."""
    if all((day.month, day.day) == (1, 1) for day in days):
        return [str(day.year) for day in days]
    if all(day.day == 1 for day in days):
        return [
            f"{day:%b %Y}" if place == 0 or day.month == 1 else f"{day:%b}" for place, day in enumerate(days)
        ]
    return [f"{day.day} {day:%b}" for day in days]
