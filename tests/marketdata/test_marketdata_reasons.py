"""Reasons that a parser found: they stand in the message, beside the place and the way out."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import pytest

from alphaloop.errors import DataError, UnknownNameError
from marketdata.feeds.failover import FailoverSource
from marketdata.point_in_time import observations
from marketdata.point_in_time.corporate_actions import read_actions
from marketdata.sources.folder import FAMILY

ACTIONS = "symbol,kind,ex_date,published,value\nKO,split,{day},{time},2\n"


@pytest.mark.parametrize(
    ("day", "time", "words"),
    [
        ("2019-02-30", "2019-01-01T12:00:00Z", "day is out of range for month"),
        ("2019-13-01", "2019-01-01T12:00:00Z", "month must be in 1..12"),
        ("2019-02-28", "2019-01-01T25:00:00Z", "hour must be in 0..23"),
        ("2019-02-28", "2019-01-01T12:00:00", "no time zone"),
    ],
)
def test_a_wrong_cell_of_actions_says_what_is_wrong(tmp_path: Path, day: str, time: str, words: str) -> None:
    """A day that no month has, and a time without a zone, are told as such."""
    path = tmp_path / "actions.csv"
    path.write_text(ACTIONS.format(day=day, time=time))
    with pytest.raises(DataError, match=words):
        read_actions(path)


def test_a_wrong_moment_of_observations_says_what_is_wrong(tmp_path: Path) -> None:
    """The calendar's objection is not lost."""
    path = tmp_path / "seen.csv"
    path.write_text("series,published,value\ncpi,2020-02-30T12:00:00Z,1\n")
    with pytest.raises(DataError, match=r"row 1: '2020-02-30T12:00:00Z' is no moment .*out of range"):
        observations.read_observations(path)


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("2019-02-30", "is '2019-02-30' (day is out of range for month); write 2019"),
        ("2019-02-28T16:00", "has no time zone"),
        ("2019-02-28T25:00:00Z", "hour must be in 0..23"),
        ("1200-01-02", "is no time between 1800 and 2200"),
        ("28.02.2019", "is '28.02.2019'; write 2019-01-02T21:00:00Z, .*, or tell the form: date_format="),
        ("1551369600", "or tell the form: date_format="),
        ("Ticker", "or say how many lines the header has: header_lines=3"),
    ],
)
def test_a_wrong_time_of_a_bar_says_what_is_wrong(tmp_path: Path, cell: str, words: str) -> None:
    """The calendar's objection, or the option that tells what such a cell is, stands behind it."""
    (tmp_path / "KO.csv").write_text(f"date,close\n{cell},1\n")
    with pytest.raises(DataError) as caught:
        FAMILY.find(str(tmp_path)).history()
    assert re.search(re.escape(words).replace(r"\.\*", ".*"), str(caught.value))


class Without:
    """A provider that has no bars of any symbol."""

    calendar, adjusted_only = "24/7", False

    def __init__(self, name: str) -> None:
        self.name = name

    def history(self, *arguments: Any) -> Any:
        raise UnknownNameError("symbol", "XYZ", ("KO",), where=f"source '{self.name}'")


def test_what_every_provider_answered_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """Where no provider has a symbol, the answers of those after the first are not lost."""
    source = FailoverSource([Without("one"), Without("two")], name="feed")  # type: ignore[list-item]
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(UnknownNameError, match="unknown symbol 'XYZ' in source 'one'"),
    ):
        source.history(("XYZ",))
    assert "feed: none of the others gave history of XYZ: unknown symbol 'XYZ' in source 'two'" in caplog.text
