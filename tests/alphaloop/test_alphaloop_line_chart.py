"""Charts: what is drawn lies where it should, and nothing is drawn from nothing."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.html_report.bar_charts import histogram, quantile, render_bars
from alphaloop.html_report.line_chart import Band, Level, LineChart, LineSeries, Mark, line_chart
from alphaloop.html_report.scale import Scale, date_ticks, position, value_ticks
from alphaloop.html_report.svg import spread_labels
from alphaloop.html_report.timeline import Segment, TimelineRow, timeline

DATES = ["2020-01-31", "2020-02-03", "2020-02-04", "2020-02-05"]


def drawings(html: str) -> list[ElementTree.Element]:
    """The wide and the narrow drawing; raises where one is not well-formed."""
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", html, re.DOTALL)]


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
    path = drawings(line_chart(a_chart()))[0].find(".//path")
    assert path is not None
    assert path.attrib["d"].count("M") == 2


def test_everything_drawn_lies_inside_the_drawing() -> None:
    """Levels and marks widen the axes, so no point falls outside."""
    chart = a_chart(levels=[Level(value=9.0, label="far")], marks=[Mark(x="2020-02-20", y=-3.0, tip="m")])
    for drawn in drawings(line_chart(chart)):
        width, height = map(float, drawn.attrib["viewBox"].split()[2:])
        for circle in drawn.findall(".//circle"):
            assert 0 <= float(circle.attrib["cx"]) <= width
            assert 0 <= float(circle.attrib["cy"]) <= height
        numbers = [
            float(n) for path in drawn.findall(".//path") for n in re.findall(r"-?[\d.]+", path.attrib["d"])
        ]
        assert all(0 <= n <= max(width, height) for n in numbers)


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


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_ticks_lie_within_the_axis_and_are_not_many(low: float, span: float, count: int) -> None:
    """Ticks stay inside the axis and number at most about twice what was asked."""
    high = low + span
    if not high > low:
        return
    ticks = [value for value, _ in value_ticks(low, high, count, str)]
    slack = (high - low) * 1e-6 + 1e-9
    assert all(low - slack <= value <= high + slack for value in ticks)
    assert len(ticks) <= 2 * count + 2


@pytest.mark.parametrize(
    ("first", "last", "label"),
    [
        ("2020-01-01", "2020-01-09", "1 Jan"),
        ("2020-01-01", "2020-02-20", "8 Jan"),
        ("2019-02-01", "2019-11-30", "Feb 2019"),
        ("2019-01-02", "2020-12-31", "Jan 2020"),
        ("2000-01-01", "2020-12-31", "2010"),
    ],
)
def test_dates_are_labelled_as_finely_as_fits(first: str, last: str, label: str) -> None:
    """Short spans name days, longer ones months, long ones years; never more than fit."""
    ticks = date_ticks(position(first), position(last), 10)
    assert label in [text for _, text in ticks]
    assert len(ticks) <= 12


def test_a_scale_without_extent_puts_its_value_in_the_middle() -> None:
    """One single value does not divide by zero."""
    assert Scale(3, 3, 0, 10)(3) == 5


def test_labels_keep_apart_and_inside() -> None:
    """Labels that would overlap are moved apart, in order, and stay within the plot."""
    placed = spread_labels([50.0, 52.0, 98.0], 14, 0, 100)
    assert placed[1] - placed[0] >= 14
    assert max(placed) <= 100


def test_a_histogram_counts_every_value() -> None:
    """The heights of all bars add up to the number of values, the long tail included."""
    values = [1.0] * 60 + [2.0] * 39 + [500.0]
    html = histogram(values, title="latency", marks=[(1.0, "p50"), (2.0, "p99")], tail=0.9)
    tips = re.findall(r": (\d+)</title>", html)
    assert sum(map(int, tips)) == 2 * len(values)  # drawn for both widths
    assert "over" in html


def test_a_histogram_of_nothing_says_so() -> None:
    """No measurement gives a sentence."""
    assert "Nothing was measured" in histogram([], title="latency")


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(0, 1))
def test_the_quantile_agrees_with_numpy(values: list[float], share: float) -> None:
    """Linear interpolation as numpy has it."""
    import numpy as np

    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)


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
    boxes = [box for box in wide.iter("rect") if "segment" in box.attrib["class"]]
    assert [box.findtext("title") for box in boxes] == ["shadow", "canary 5 %"]
    assert float(boxes[0].attrib["x"]) + float(boxes[0].attrib["width"]) == pytest.approx(
        float(boxes[1].attrib["x"]), abs=0.2
    )


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
