"""The heat map: cells lie and are coloured as their values say, and nothing is drawn from nothing."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from alphaloop.html_report.heatmap import Heatmap, heatmap
from alphaloop.html_report.style import STYLE


def wide(chart: Heatmap) -> ElementTree.Element:
    """The drawing for wide pages; raises where it is not well-formed."""
    drawings = re.findall(r"<svg.*?</svg>", heatmap(chart), re.DOTALL)
    assert len(drawings) == 2
    return next(ElementTree.fromstring(svg) for svg in drawings)


def cells(drawing: ElementTree.Element) -> list[ElementTree.Element]:
    """The cells, row by row."""
    return [one for one in drawing.iter("path") if (one.get("class") or "").startswith("cell")]


def opacity(cell: ElementTree.Element) -> float:
    """How strongly a cell is drawn."""
    return float(cell.get("opacity", 1))


def sides(cell: ElementTree.Element) -> tuple[float, float, float, float]:
    """Left, right, top and bottom of a cell, in pixels."""
    numbers = list(map(float, re.findall(r"-?[\d.]+", cell.attrib["d"])))
    return min(numbers[::2]), max(numbers[::2]), min(numbers[1::2]), max(numbers[1::2])


def test_colour_says_sign_and_size() -> None:
    """Positive and negative values have their own tones, the larger the stronger; a gap has no cell."""
    chart = Heatmap(title="t", rows=["a", "b"], columns=["x", "y"], values=[[0.5, -1.0], [None, math.nan]])
    one, other = cells(wide(chart))
    assert (one.get("class"), other.get("class")) == ("cell one", "cell bad")
    assert opacity(one) == pytest.approx(0.52)
    assert opacity(other) == 1.0


def test_the_scale_can_be_given() -> None:
    """With `largest` given colours of two maps compare, and what is beyond it is in full colour."""
    chart = Heatmap(title="t", rows=["a"], columns=["x", "y"], values=[[0.5, 3.0]], largest=1.0)
    assert [opacity(one) for one in cells(wide(chart))] == [0.52, 1.0]


def test_names_and_values_are_written_and_escaped() -> None:
    """Names with markup come out as text, marked rows in strong type, values in their cells and as hints."""
    chart = Heatmap(
        title="gain & loss", rows=["a <b>", "c"], columns=["x", "y"], values=[[1, 2], [3, 4]], marked=[0],
        numbers=True, label="{:.1f}".format,
    )  # fmt: skip
    texts = {one.text: one.get("class") for one in wide(chart).iter("text")}
    assert texts["a <b>"] == "label strong"
    assert texts["c"] == "label"
    assert {"x", "y", "1.0", "2.0", "3.0", "4.0"} <= set(texts)
    assert next(one.text for one in wide(chart).iter("title")) == "a <b> · x: 1.0"


def test_a_square_map_is_square() -> None:
    """Without names of columns rows and columns are the same: cells are squares, lines part both ways."""
    count = 20
    matrix = [[1.0 if row == column else 0.1 for column in range(count)] for row in range(count)]
    chart = Heatmap(title="t", rows=[f"name {one}" for one in range(count)], values=matrix, breaks=[5])
    drawing = wide(chart)
    first = cells(drawing)[0]
    left, right, top, bottom = sides(first)
    assert right - left == pytest.approx(bottom - top, abs=0.2)
    assert len(cells(drawing)) == count * count
    lines = [one for one in drawing.iter("path") if one.get("class") == "cut"]
    assert len(lines) == 2
    assert max(sides(one)[1] for one in cells(drawing)) <= float((drawing.get("viewBox") or "").split()[2])


def test_long_names_keep_within_their_room() -> None:
    """A name longer than the room beside the rows loses its middle, and keeps both ends."""
    name = "beginning_" + "x" * 80 + "_end"
    chart = Heatmap(title="t", rows=[name], columns=["x"], values=[[1.0]], marked=[0])
    shown = next(one.text or "" for one in wide(chart).iter("text") if "…" in (one.text or ""))
    assert shown.startswith("beginning")
    assert shown.endswith("_end")
    assert len(shown) < 40


def test_names_of_columns_do_not_run_into_each_other() -> None:
    """Where all have room all are there; of sixty with long names only as many as fit."""
    few = Heatmap(title="t", rows=["a"], columns=["one", "a longer one", "two"], values=[[1, 2, 3]])
    assert {"one", "a longer one", "two"} <= {one.text for one in wide(few).iter("text")}
    names = [f"column {place}" for place in range(60)]
    many = Heatmap(title="t", rows=["a"], columns=names, values=[[1.0] * 60])
    shown = [one for one in wide(many).iter("text") if (one.text or "").startswith("column")]
    places = [float(one.get("x") or 0) for one in shown]
    assert 8 < len(shown) < 20
    assert min(after - before for before, after in pairwise(places)) > 55


def test_nothing_is_drawn_from_nothing() -> None:
    """No rows, or rows without columns, are a sentence and no drawing."""
    for chart in (Heatmap(title="t", rows=[], values=[]), Heatmap(title="t", rows=["a"], values=[[]])):
        assert "Nothing was recorded" in heatmap(chart)


def test_the_style_sheet_knows_the_parts() -> None:
    """Every class that the map uses has a rule."""
    assert all(f"svg .{name} {{" in STYLE for name in ("cell", "cut", "value", "over"))
