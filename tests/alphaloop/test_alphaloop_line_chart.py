"""Charts: what is drawn lies where it should, and nothing is drawn from nothing."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest

from alphaloop.html_report.bar_charts import histogram, render_bars
from alphaloop.html_report.line_chart import Band, Level, LineChart, LineSeries, Mark, line_chart
from alphaloop.html_report.style import STYLE
from alphaloop.html_report.timeline import Segment, TimelineRow, timeline

DATES = ["2020-01-31", "2020-02-03", "2020-02-04", "2020-02-05"]


def drawings(html: str) -> list[ElementTree.Element]:
    """The wide and the narrow drawing; raises where one is not well-formed."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


def of_class(drawn: ElementTree.Element, css: str) -> list[ElementTree.Element]:
    """The parts of a drawing whose first class is this one, in the order of drawing."""
    return [one for one in drawn.iter() if one.get("class", "").split(" ")[0] == css]


def corners(path: ElementTree.Element) -> list[tuple[float, float]]:
    """The points of a path, in pixels."""
    moved = re.findall(r"-?[\d.]+", path.get("transform", "0 0"))
    numbers = list(map(float, re.findall(r"-?[\d.]+", path.attrib["d"])))
    return [
        (float(moved[0]) + x, float(moved[1]) + y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)
    ]


def labels(drawn: ElementTree.Element) -> dict[str, tuple[float, float]]:
    """The texts of a drawing, and where each stands."""
    return {one.text or "": (float(one.attrib["x"]), float(one.attrib["y"])) for one in drawn.iter("text")}


def a_chart(**changes: object) -> LineChart:
    """A chart of one line with everything that can be on it."""
    given_parts: dict[str, object] = {
        "title": "gain & loss",
        "series": [LineSeries(name="a <b>", x=DATES, y=[0.0, 1.0, None, 2.0])],
        "bands": [Band(first=DATES[1], last=DATES[2], label="canary")],
        "levels": [Level(value=1.5, label="bound")],
        "marks": [Mark(x=DATES[1], y=1.0, tip="alarm <1>")],
    }
    return LineChart(**(given_parts | changes))  # type: ignore[arg-type]


def test_a_line_chart_is_well_formed_and_drawn_for_both_widths() -> None:
    """Names with markup are escaped, and a wide and a narrow drawing come out."""
    wide, narrow = drawings(line_chart(a_chart()))
    assert wide.attrib["class"] == "wide"
    assert narrow.attrib["class"] == "narrow"
    assert wide.attrib["aria-label"] == "gain & loss"


def test_a_gap_in_the_values_is_a_gap_in_the_line() -> None:
    """A missing value lifts the pen instead of being bridged."""
    (path,) = of_class(drawings(line_chart(a_chart()))[0], "line")
    assert path.attrib["d"].count("M") == 2


def test_everything_drawn_lies_inside_the_drawing() -> None:
    """Levels and marks widen the axes, so no point falls outside."""
    chart = a_chart(levels=[Level(value=9.0, label="far")], marks=[Mark(x="2020-02-20", y=-3.0, tip="m")])
    for drawn in drawings(line_chart(chart)):
        width, height = map(float, drawn.attrib["viewBox"].split()[2:])
        points = [point for path in drawn.iter("path") for point in corners(path)]
        assert len(of_class(drawn, "mark")) == 1
        assert all(0 <= x <= width and 0 <= y <= height for x, y in points)


@pytest.mark.parametrize("y", [[], [None, None], [math.nan]])
def test_nothing_to_draw_is_said(y: list[float | None]) -> None:
    """A chart without a finite value is a sentence, not an empty frame."""
    html = line_chart(LineChart(title="t", series=[LineSeries(name="s", x=DATES[: len(y)], y=y)]))
    assert "<svg" not in html
    assert "Nothing" in html


def test_bars_are_numbers_too() -> None:
    """An x axis of bar numbers gets round numbers as ticks."""
    series = [
        LineSeries(name=str(n), x=list(range(50)), y=[float(i * n) for i in range(50)]) for n in range(6)
    ]
    html = line_chart(LineChart(title="t", series=series, x_title="bar"))
    assert ">10<" in html
    assert ">bar<" in html


def test_one_flat_line_has_room_around_it() -> None:
    """A constant series, even at zero, is drawn inside the plot."""
    for value in (0.0, 5.0):
        html = line_chart(LineChart(title="t", series=[LineSeries(name="s", x=DATES, y=[value] * 4)]))
        assert drawings(html)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-6), (-3.0, 4.0), (1e5, 1e6), (0.1, 0.7)])
def test_values_are_named_at_round_ones_within_the_plot(low: float, high: float) -> None:
    """There are a few names, none of a value beyond the axis, and a zero is written as zero."""
    chart = LineChart(title="t", series=[LineSeries(name="s", x=[0, 1], y=[low, high])], floor=low)
    for drawn in drawings(line_chart(chart)):
        named = [one.text or "" for one in drawn.iter("text") if one.get("text-anchor") == "end"]
        assert 2 <= len(named) <= 8
        assert all(low - 0.1 * (high - low) <= float(name.replace("−", "-")) <= 1.1 * high for name in named)
        assert not any("e-1" in name or name == "-0" for name in named)
        assert len(of_class(drawn, "grid")) == len(named)


@pytest.mark.parametrize(
    ("first", "last", "label"),
    [
        ("2020-01-01", "2020-01-03", "2 Jan"),
        ("2020-01-01", "2020-01-09", "3 Jan"),
        ("2020-01-01", "2020-02-20", "8 Jan"),
        ("2019-02-01", "2019-11-30", "Feb 2019"),
        ("2019-01-02", "2020-12-31", "Jan 2020"),
        ("2000-01-01", "2020-12-31", "2012"),
    ],
)
def test_dates_are_labelled_as_finely_as_fits(first: str, last: str, label: str) -> None:
    """Short spans name days, longer ones months, long ones years; no label runs into the next."""
    chart = LineChart(title="t", series=[LineSeries(name="s", x=[first, last], y=[0.0, 1.0])])
    wide, narrow = drawings(line_chart(chart))
    assert label in labels(wide)
    for drawn in (wide, narrow):
        below = [one for one in drawn.iter("text") if one.get("text-anchor") == "middle"]
        assert 2 <= len(below) <= 10
        assert all(one.text != other.text for one, other in pairwise(below))
        for one, other in pairwise(below):
            room = float(other.attrib["x"]) - float(one.attrib["x"])
            assert room > 6 * (len(one.text or "") + len(other.text or "")) / 2


def test_a_single_day_stands_in_the_middle() -> None:
    """One bar is a plot, with its day below it and its dot in the middle."""
    chart = a_chart(
        series=[LineSeries(name="s", x=DATES[:1], y=[1.0])],
        bands=[],
        marks=[Mark(x=DATES[0], y=1.0, tip="m")],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wide = drawings(line_chart(chart))[0]
    x, _ = labels(wide)["31 Jan"]
    assert of_class(wide, "mark")[0].attrib["transform"].startswith(f"translate({x:g} ")


@pytest.mark.parametrize("ends", [[0.50, 0.51, 0.99], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.99, 0.0]])
def test_last_values_keep_apart_and_inside(ends: list[float]) -> None:
    """Lines that end close together have their last values below each other, and beside the plot."""
    lines = [LineSeries(name=f"{place}", x=[0, 1], y=[0.5, end]) for place, end in enumerate(ends)]
    wide = drawings(line_chart(LineChart(title="t", series=lines)))[0]
    written = [one for one in wide.iter("text") if "strong" in one.get("class", "")]
    heights = sorted(float(one.attrib["y"]) for one in written)
    assert len(heights) == len(ends)
    assert all(other - one >= 11 for one, other in pairwise(heights))
    assert heights[0] > 12
    assert heights[-1] < 300 - 20


def test_labels_of_bands_keep_apart() -> None:
    """Bands that begin together have their labels below each other, the last ones inside the plot."""
    at_start = [Band(first=DATES[0], last=DATES[1], label=label) for label in ("first", "second")]
    bands = [*at_start, Band(first=DATES[3], last=DATES[3], label="a band at the very end")]
    found = labels(drawings(line_chart(a_chart(bands=bands)))[0])
    assert found["second"][1] - found["first"][1] >= 11
    assert found["a band at the very end"][0] < 920 - 120


def test_long_names_of_values_have_room() -> None:
    """The plot begins right of the longest name on its left, and of no other chart's."""
    series = [LineSeries(name="s", x=[0, 1], y=[0.0, 5.0])]
    chart = LineChart(title="t", series=series, label=lambda value: f"{value:g} of all that was possible")
    short, long = (drawings(line_chart(one)) for one in (LineChart(title="t", series=series), chart))
    for before, after in zip(short, long, strict=True):
        one, other = (corners(of_class(drawn, "line")[0])[0][0] for drawn in (before, after))
        assert other - one > 90


def test_the_page_gives_colours_and_fonts() -> None:
    """A drawing has classes and no colours, fonts or ids, so it follows the page in light and dark."""
    html = line_chart(a_chart()) + timeline(
        [TimelineRow(label="v", segments=[Segment(first=0, last=9, label="shadow")])], title="t"
    )
    assert not re.search(r"#[0-9a-f]{3}|font-family|style=| id=|href|clip-path|<metadata|<defs", html)
    used = {css for found in re.findall(r'class="([^"]+)"', html) for css in found.split()}
    assert {"line", "grid", "tick", "label", "mark", "level", "band", "segment"} <= used
    assert all(re.search(rf"\.{css}\b", STYLE) for css in used)


def test_a_drawing_is_the_same_each_time_and_under_any_style() -> None:
    """Neither a second drawing nor what the process set for matplotlib changes a byte, and it stays set."""
    import matplotlib

    before = line_chart(a_chart())
    with matplotlib.rc_context({"font.size": 30, "axes.grid": True, "xtick.labeltop": True}):
        assert line_chart(a_chart()) == before
        assert matplotlib.rcParams["font.size"] == 30


def test_names_are_text_and_not_formulas() -> None:
    """Dollars, and letters that matplotlib's font lacks, come out as they are and without a warning."""
    chart = a_chart(levels=[Level(value=1.5, label="$a_b$ 株")], x_title="$")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {"$a_b$ 株", "$"} <= set(labels(drawings(line_chart(chart))[0]))


def test_drawing_leaves_no_files(tmp_path: Path) -> None:
    """In a home without a folder of matplotlib none is made, and the environment is as before."""
    program = """
import os
from alphaloop.html_report.line_chart import LineChart, LineSeries, line_chart
before = dict(os.environ)
assert "<svg" in line_chart(LineChart(title="t", series=[LineSeries(name="s", x=[0, 1], y=[0, 1])]))
assert dict(os.environ) == before
"""
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    home.mkdir()
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("XDG_", "MPL", "COVERAGE_"))}  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).resolve().parents[2],
        env=environment | {"HOME": str(home), "TMPDIR": str(temporary)},
        check=True,
        timeout=120,
    )
    assert list(home.iterdir()) == []
    assert list(temporary.iterdir()) == []


def test_a_histogram_counts_every_value() -> None:
    """The heights of all bars add up to the number of values, the long tail included."""
    values = [1.0] * 60 + [2.0] * 39 + [500.0]
    html = histogram(values, title="latency", marks=[(1.0, "p50"), (2.0, "p99")], tail=0.9)
    tips = re.findall(r": (\d+)</title>", html)
    assert sum(map(int, tips)) == 2 * len(values)  # drawn for both widths
    assert "over" in html


def test_a_rare_value_is_seen_in_a_histogram() -> None:
    """The bar of one value among thousands is higher than a pixel, and no bar is below the axis."""
    wide = drawings(histogram([1.0] * 9000 + [2.0], title="latency", tail=1.0))[0]
    heights = [
        max(y for _, y in corners(bar)) - min(y for _, y in corners(bar)) for bar in of_class(wide, "bar")
    ]
    assert len(heights) == 2
    assert min(heights) >= 1.4


def test_names_of_marks_keep_apart() -> None:
    """Marks close together have their names below each other, above the bars, and inside the drawing."""
    values = [1.0, 1.1, 1.2, 3.0]
    html = histogram(values, title="latency", marks=[(3.0, "half within"), (3.0, "nearly all within")])
    for drawn in drawings(html):
        found = labels(drawn)
        one, other = found["half within 3"], found["nearly all within 3"]
        assert other[1] - one[1] >= 11
        assert max(one[0], other[0]) < float(drawn.attrib["viewBox"].split()[2]) - 60
        assert len(of_class(drawn, "level")) == 2


def test_a_histogram_of_nothing_says_so() -> None:
    """No measurement gives a sentence."""
    assert "Nothing was measured" in histogram([], title="latency")


def test_named_bars_are_as_long_as_their_share() -> None:
    """The largest entry fills the line, half of it half the line."""
    html = render_bars([("train", 10.0), ("serve", 5.0)])
    assert "--share:1.0000" in html
    assert "--share:0.5000" in html
    assert render_bars([]) == '<ol class="bars"></ol>'


def test_a_timeline_shows_each_state_with_its_name() -> None:
    """Segments follow each other on the axis, and their names can be read."""
    row = TimelineRow(
        label="Version 5",
        outcome="rolled back",
        tone="bad",
        segments=[
            Segment(first="2020-01-31", last="2020-02-04", label="shadow"),
            Segment(first="2020-02-04", last="2020-03-04", label="canary 5 %"),
        ],
    )
    wide = drawings(timeline([row, TimelineRow(label="empty", segments=[])], title="rollouts"))[0]
    boxes = of_class(wide, "segment")
    assert [box.findtext("title") for box in boxes] == ["shadow", "canary 5 %"]
    assert max(x for x, _ in corners(boxes[0])) == pytest.approx(
        min(x for x, _ in corners(boxes[1])), abs=0.2
    )


def test_the_strength_of_a_state_is_seen() -> None:
    """The stronger a state, the stronger its colour."""
    segments = [Segment(first=at, last=at + 1, label="s", strength=at / 2) for at in range(3)]
    wide = drawings(timeline([TimelineRow(label="v", segments=segments)], title="t"))[0]
    assert [float(box.get("opacity", 1)) for box in of_class(wide, "segment")] == [0.25, 0.62, 1.0]


def test_a_caption_stays_inside_a_timeline() -> None:
    """A state at the end of the axis has its caption moved to the left, as far as its width needs."""
    row = TimelineRow(label="a long name of a version", segments=[Segment(first=39, last=40, label="s")])
    for drawn in drawings(timeline([row], title="t", span=(0, 40))):
        assert labels(drawn)[row.label][0] < float(drawn.attrib["viewBox"].split()[2]) - 120


def test_a_state_of_one_day_alone_is_drawn() -> None:
    """A rollout that ended on its first bar is a dot above its day."""
    row = TimelineRow(label="v", segments=[Segment(first=DATES[0], last=DATES[0], label="shadow")])
    wide = drawings(timeline([row], title="t"))[0]
    assert len(of_class(wide, "mark")) == 1
    assert "31 Jan" in labels(wide)


def test_a_timeline_over_bar_numbers_and_one_of_nothing() -> None:
    """Bars can be numbers; no row gives a sentence."""
    row = TimelineRow(label="v", segments=[Segment(first=0, last=20, label="shadow")])
    assert drawings(timeline([row], title="t", span=(0, 40)))
    assert "Nothing" in timeline([], title="t")


@pytest.mark.parametrize("count", [2, 7, 9, 10, 14])
def test_no_two_lines_of_a_chart_share_a_colour(count: int) -> None:
    """Also where each asks for the same; beyond the colours there are, dashes tell lines apart."""
    lines = [LineSeries(name=f"line {place}", x=[0, 1], y=[0, place]) for place in range(count)]
    html = line_chart(LineChart(title="t", series=lines))
    wide = html.split("<svg")[1]
    drawn = re.findall(r'class="line ([a-z]+(?: dashed)?)"', wide)
    assert len(drawn) == count
    assert len(set(drawn)) == count
    if count <= 10:
        assert len({one.split()[0] for one in drawn}) == count


def test_a_line_keeps_the_colour_it_asks_for() -> None:
    """Only a later line gives way; grey by two names is one colour."""
    tones = ("two", "good", "muted", "two", "bad")
    html = line_chart(
        LineChart(
            title="t",
            series=[
                LineSeries(name=str(at), x=[0, 1], y=[0, at], tone=tone) for at, tone in enumerate(tones)
            ],
        )
    )
    drawn = re.findall(r'class="line ([a-z]+)"', html.split("<svg")[1])[::-1]
    assert (drawn[0], drawn[1], drawn[4]) == ("two", "good", "bad")
    assert not {"two", "muted"} & set(drawn[2:])
    assert len(set(drawn)) == 5
