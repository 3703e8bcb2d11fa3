"""Universes: who belonged as of each bar, by what was published then; who failed stays in the past."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.errors import DataError, UnknownNameError
from marketdata.point_in_time.membership import Membership, MembershipHistory
from marketdata.point_in_time.universe import Universe
from marketdata.source import close_only_panel

NAMES = ("GOOD", "GONE", "LATE")


def day(number: int) -> datetime:
    """The close of the `number`-th day."""
    return datetime(2020, 1, 1, 21, tzinfo=UTC) + timedelta(days=number)


def member(
    symbol: str, start: int, end: int | None = None, published: int | None = None, group: str = "INDEX"
) -> Membership:
    """Membership by day numbers, published at its start unless said otherwise."""
    known = day(start if published is None else published)
    return Membership(symbol, group, day(start), known, None if end is None else day(end))


def bars_of(days: int, symbols: tuple[str, ...] = NAMES) -> BarPanel:
    """Bars of 100, 101, ... for all symbols."""
    times = np.array([day(number).replace(tzinfo=None) for number in range(days)], dtype="datetime64[ns]")
    return close_only_panel(times, symbols, np.tile(100.0 + np.arange(days)[:, None], len(symbols)))


@pytest.fixture
def universe() -> Universe:
    """GOOD stays; GONE is thrown out on day 4; LATE comes on day 2, known since day 1."""
    history = MembershipHistory(
        [member("GOOD", 0), member("GONE", 0), member("GONE", 0, 4, 3), member("LATE", 2, published=1)]
    )
    return Universe("INDEX", history)


@pytest.fixture
def sectors() -> MembershipHistory:
    """LATE moves from one sector to another on day 5."""
    return MembershipHistory(
        [
            member("GOOD", 0, group="Technology"),
            member("GONE", 0, group="Energy"),
            member("LATE", 0, group="Energy"),
            member("LATE", 0, 5, 4, group="Energy"),
            member("LATE", 5, group="Airlines"),
        ]
    )


def test_the_universe_of_the_past_holds_who_failed_later(universe: Universe) -> None:
    """On day 1 the later-delisted name is a member, with its bars; today it is not; it is still listed."""
    assert universe.members(day(1)) == ("GONE", "GOOD")
    assert universe.members(day(3)) == ("GONE", "GOOD", "LATE")
    assert universe.members(day(4)) == ("GOOD", "LATE")
    assert universe.symbols() == ("GONE", "GOOD", "LATE")


def test_an_end_is_unknown_until_it_is_published() -> None:
    """Thrown out on day 2 but announced on day 4, a symbol counts as a member until day 4 and no longer."""
    history = MembershipHistory([member("GOOD", 0), member("GOOD", 0, 2, 4)])
    assert [bool(history.members(day(number), "INDEX")) for number in range(6)] == [True] * 4 + [False] * 2
    mask = history.mask(bars_of(6).timestamps, ("GOOD",), "INDEX")
    assert mask[:, 0].tolist() == [True] * 4 + [False] * 2


def test_a_start_that_never_came_leaves_no_trace_after_its_recall() -> None:
    """An entry announced for day 3 and called off on day 2 makes no member."""
    history = MembershipHistory([member("GOOD", 3, published=0), member("GOOD", 3, 3, 2)])
    assert [history.members(day(number), "INDEX") for number in range(5)] == [()] * 5


def test_sectors_are_codes_as_of_each_bar(sectors: MembershipHistory) -> None:
    """A symbol changes its code when it changes sector."""
    codes = sectors.codes(bars_of(6).timestamps, NAMES)
    energy, technology, airlines = (
        sectors.groups().index(name) for name in ("Energy", "Technology", "Airlines")
    )
    np.testing.assert_array_equal(codes[:, 0], [technology] * 6)
    np.testing.assert_array_equal(codes[:, 1], [energy] * 6)
    np.testing.assert_array_equal(codes[:, 2], [energy] * 5 + [airlines])


def test_a_sector_named_later_changes_no_code(sectors: MembershipHistory) -> None:
    """Codes are given in the order of publication: a group that is added keeps all others where they are."""
    earlier = [one for one, _ in sectors._known]
    more = MembershipHistory([*earlier, member("NEW", 7, group="Aerospace")])
    assert more.groups() == (*sectors.groups(), "Aerospace")
    times = bars_of(6).timestamps
    np.testing.assert_array_equal(more.codes(times, NAMES), sectors.codes(times, NAMES))


def test_what_is_published_later_changes_no_earlier_member(
    universe: Universe, sectors: MembershipHistory
) -> None:
    """Whatever is said after day 3, mask, codes and members up to day 3 stay as they were."""
    for history in (universe.memberships, sectors):
        kept = [one for one, _ in history._known if one.published <= day(3)]
        fewer = MembershipHistory(kept)
        times = bars_of(4).timestamps
        np.testing.assert_array_equal(fewer.codes(times, NAMES), history.codes(times, NAMES))
        for group in fewer.groups():
            np.testing.assert_array_equal(fewer.mask(times, NAMES, group), history.mask(times, NAMES, group))


spans = st.tuples(
    st.sampled_from(NAMES), st.integers(0, 8), st.none() | st.integers(0, 8), st.integers(0, 9)
).filter(lambda one: one[2] is None or one[2] >= one[1])


def test_memberships_of_one_group_may_overlap() -> None:
    """Said twice in other words, a membership is one: a member is named once and has one code."""
    history = MembershipHistory([member("GOOD", 0), member("GOOD", 1)])
    assert history.members(day(2), "INDEX") == ("GOOD",)
    assert history.codes(bars_of(3).timestamps, ("GOOD",))[:, 0].tolist() == [0.0] * 3


@given(st.lists(spans, min_size=1, max_size=8, unique_by=lambda one: (one[0], one[1], one[3])))
def test_matrix_and_question_agree(rows: list[tuple[str, int, int | None, int]]) -> None:
    """At every bar the mask holds exactly those whom `members` names, for any publications."""
    history = MembershipHistory([member(*row) for row in rows])
    bars = bars_of(10)
    mask = history.mask(bars.timestamps, NAMES, "INDEX")
    for row, moment in enumerate(bars.timestamps):
        named = history.members(to_datetime(moment), "INDEX")
        assert named == tuple(sorted(name for name, inside in zip(NAMES, mask[row], strict=True) if inside))


def test_impossible_memberships_are_refused() -> None:
    """No symbol, no group, no time zone, an end before the start, one said twice, two sectors at once."""
    good = member("GOOD", 1)
    for change, word in [
        ({"symbol": ""}, "names symbol and group"),
        ({"group": ""}, "names symbol and group"),
        ({"published": datetime(2020, 1, 1)}, "published is .* without a time zone"),  # noqa: DTZ001
        ({"end": day(0)}, "before"),
    ]:
        with pytest.raises(DataError, match=word):
            replace(good, **change)
    with pytest.raises(DataError, match=r"GOOD in INDEX .* twice"):
        MembershipHistory([good, replace(good, end=day(5))])
    with pytest.raises(DataError, match="GOOD is in two groups at 2020-01-03"):
        MembershipHistory([good, member("GOOD", 2, group="OTHER")]).codes(bars_of(5).timestamps, NAMES)
    with pytest.raises(UnknownNameError, match="unknown universe 'SP500'; known: INDEX"):
        Universe("SP500", MembershipHistory([good]))
    with pytest.raises(UnknownNameError, match="unknown group 'SP500'"):
        MembershipHistory([good]).members(day(0), "SP500")


def test_memberships_are_read_from_files(tmp_path: Path) -> None:
    """A file gives the history; what is wrong in it is named with the file."""
    path = tmp_path / "index.csv"
    path.write_text(
        "symbol,group,start,published,end\n"
        "LEH,SP500,1994-05-31T00:00:00Z,1994-05-31T00:00:00Z,\n"
        "LEH,SP500,1994-05-31T00:00:00Z,2008-09-16T00:00:00Z,2008-09-17T00:00:00Z\n"
    )
    history = MembershipHistory.read(path)
    assert history.members(datetime(2008, 9, 12, tzinfo=UTC), "SP500") == ("LEH",)
    assert history.members(datetime(2008, 9, 18, tzinfo=UTC), "SP500") == ()
    assert history.symbols() == ("LEH",)
    path.write_text(path.read_text() + "LEH,SP500,1994-05-31T00:00:00Z,2008-09-16T00:00:00Z,\n")
    with pytest.raises(DataError, match=r"index\.csv: LEH in SP500 .* twice"):
        MembershipHistory.read(path)
    path.write_text("symbol,group,start,published\nLEH,SP500,1994,1994-05-31T00:00:00Z\n")
    with pytest.raises(DataError, match=r"index.csv: row 1, 'start' is '1994'; give a moment"):
        MembershipHistory.read(path)
