"""Closed bars from what a stream says: each once, in order, nothing missing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.bars import Bar
from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, VendorError
from marketdata.connectors.closed_bars import BarUpdate, ClosedBars, history_fill, period_of
from marketdata.connectors.stored_bars import stored_bars
from marketdata.source import Source
from marketdata.sources.registry import find_source

MINUTE = timedelta(minutes=1)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
T = TypeVar("T")


def update(minute: int, final: bool = True, close: float | None = None, symbol: str = "A") -> BarUpdate:
    """The bar of the minute that begins so many minutes after noon."""
    price = 100.0 + minute if close is None else close
    return BarUpdate(symbol, NOON + minute * MINUTE, price, price + 1, price - 1, price, 5.0, final)


class Market:
    """A truth to fill gaps from: one bar a minute, as far as history has it."""

    def __init__(self) -> None:
        self.clock = ReplayClock(NOON)
        self.asked: list[tuple[str, datetime, datetime]] = []
        self.absent: set[int] = set()
        self.failure: Exception | None = None

    async def fill(self, symbol: str, start: datetime, end: datetime) -> Sequence[Bar]:
        self.asked.append((symbol, start, end))
        if self.failure:
            raise self.failure
        return [bar(m, symbol) for m in range(600) if m not in self.absent and start < at(m) <= end]

    def bars(self) -> ClosedBars:
        return ClosedBars("venue", MINUTE, self.fill, self.clock)

    def pass_minutes(self, minutes: float) -> None:
        self.clock.advance(self.clock.now() + minutes * MINUTE)


def at(minute: int) -> datetime:
    """The close of the minute's bar."""
    return NOON + (minute + 1) * MINUTE


def bar(minute: int, symbol: str = "A") -> Bar:
    price = 100.0 + minute
    return Bar(symbol, at(minute), price, price, price + 1, price - 1, 5.0, provider="venue")


def run(awaitable: Awaitable[T]) -> T:
    async def asynchronous() -> T:
        return await awaitable

    return asyncio.run(asynchronous())


@pytest.fixture
def market() -> Market:
    """A market that stands at noon."""
    return Market()


def minutes(bars: Sequence[Bar]) -> list[int]:
    return [round((one.timestamp - NOON) / MINUTE) - 1 for one in bars]


def feed(closed: ClosedBars, *updates: BarUpdate) -> list[Bar]:
    return [one for each in updates for one in run(closed.add(each))]


def test_only_final_bars_come_out(market: Market) -> None:
    """A bar that is still open gives nothing; said to be final it comes, stamped with its close in UTC."""
    closed = market.bars()
    assert feed(closed, update(0, final=False, close=99.0), update(0, final=False)) == []
    assert feed(closed, update(0)) == [bar(0)]
    assert market.asked == []


def test_the_next_period_closes_a_bar_that_no_one_called_final(market: Market) -> None:
    """Where the venue never says final, the last update of a period is its bar once the next begins."""
    market.pass_minutes(1)
    updates = [update(0, False, 90.0), update(0, False), update(1, False), update(1, False), update(2, False)]
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    assert feed(closed, *updates) == [bar(0), bar(1)]


def test_the_clock_closes_the_bar_of_a_quiet_symbol(market: Market) -> None:
    """A bar with no later update comes when its period and the grace are over, and then only once."""
    closed = market.bars()
    feed(closed, update(0, final=False))
    market.pass_minutes(1)
    assert run(closed.overdue()) == []
    market.pass_minutes(0.1)
    assert run(closed.overdue()) == [bar(0)]
    assert run(closed.overdue()) == []
    assert feed(closed, update(0, final=False, close=1.5)) == []
    assert closed.counts["correction"] == 1


def test_a_gap_is_filled_before_going_on(market: Market) -> None:
    """Bars that are missing before an update come from history, in order, before it."""
    market.pass_minutes(5)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    assert minutes(feed(closed, update(0), update(4))) == [0, 1, 2, 3, 4]
    assert market.asked == [("A", at(0), at(3))]
    assert closed.counts == {"gap": 1, "filled": 3}


def test_an_open_bar_tells_of_a_gap_too(market: Market) -> None:
    """The gap before a period is filled when the period begins, not when it closes."""
    market.pass_minutes(3)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    assert minutes(feed(closed, update(2, final=False))) == [0, 1]
    assert minutes(feed(closed, update(2))) == [2]


def test_a_market_that_had_no_trades_is_not_asked_at_every_update(market: Market) -> None:
    """Where history has no bar to give, it is asked when a period begins and closes, and no more."""
    market.absent = {0, 1}
    market.pass_minutes(3)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    bars = feed(closed, *[update(2, final=False)] * 50, update(2))
    assert (minutes(bars), len(market.asked)) == ([2], 2)


def test_history_that_is_a_moment_behind_is_asked_again(market: Market) -> None:
    """A bar that history lacked when the period began is there when the period closes."""
    market.absent = {0}
    market.pass_minutes(2)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    assert feed(closed, update(1, final=False)) == []
    market.absent = set()
    assert minutes(feed(closed, update(1))) == [0, 1]


def test_a_dropped_connection_loses_nothing_and_repeats_nothing(market: Market) -> None:
    """The bar that was open when the connection dropped comes from history, not from what was heard."""
    closed = market.bars()
    heard = feed(closed, update(0), update(1, final=False, close=42.0))
    closed.interrupt()
    market.pass_minutes(4)
    heard += run(closed.resume("A"))
    heard += feed(closed, update(3), update(4))
    assert heard == [bar(m) for m in range(5)]
    assert closed.counts["duplicate"] == 1
    assert run(closed.resume("A")) == []


def test_a_fill_that_fails_changes_nothing(market: Market) -> None:
    """With history away the update is not believed to be next; later the gap is still filled."""
    market.pass_minutes(4)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    feed(closed, update(0, final=False))
    market.failure = VendorError("away")
    with pytest.raises(VendorError, match="away"):
        feed(closed, update(2))
    market.failure = None
    assert minutes(feed(closed, update(3))) == [0, 1, 2, 3]


def test_repeats_and_late_corrections_are_dropped_and_counted(market: Market) -> None:
    """The same bar again, other values for it and an older bar give nothing; each is counted by kind."""
    closed = market.bars()
    market.pass_minutes(2)
    feed(closed, update(0), update(1))
    assert feed(closed, update(1), update(1, close=7.0), update(0), update(-1)) == []
    assert closed.counts == {"duplicate": 1, "correction": 1, "late": 2}


def test_what_cannot_be_is_refused_and_filled(market: Market, caplog: pytest.LogCaptureFixture) -> None:
    """Negative and NaN prices, a bar of the future and a crooked period are counted, logged once a kind."""
    closed = market.bars()
    crooked = BarUpdate("A", NOON + timedelta(seconds=17), 1.0, 1.0, 1.0, 1.0, 1.0, True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            nonsense = (update(0, close=-1.0), update(0, close=float("nan")), update(500), crooked)
            assert feed(closed, *nonsense) == []
    assert closed.counts["refused"] == 8
    assert len(caplog.records) == 3
    market.pass_minutes(2)
    assert minutes(feed(closed, update(1))) == [0, 1]


def test_a_night_is_no_gap(market: Market) -> None:
    """Where the calendar says that nothing could have closed in between, history is not asked."""
    market.pass_minutes(100)
    closed = ClosedBars("v", MINUTE, market.fill, market.clock, since=NOON, expects=lambda start, end: False)
    assert minutes(feed(closed, update(0), update(90))) == [0, 90]
    assert market.asked == []


def test_symbols_do_not_close_each_other(market: Market) -> None:
    """Each symbol has its own order and its own gaps."""
    market.pass_minutes(3)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)
    bars = feed(closed, update(0), update(0, symbol="B"), update(2, symbol="B"), update(1))
    assert [(one.symbol, minute) for one, minute in zip(bars, minutes(bars), strict=True)] == [
        ("A", 0),
        ("B", 0),
        ("B", 1),
        ("B", 2),
        ("A", 1),
    ]


@given(
    told=st.lists(st.tuples(st.integers(-3, 20), st.booleans()), max_size=40),
    drops=st.sets(st.integers(0, 40)),
)
def test_any_stream_gives_each_bar_once_in_order(told: list[tuple[int, bool]], drops: set[int]) -> None:
    """Whatever order, repeats, losses and dropped connections: the bars are consecutive, from the first."""
    market = Market()
    market.pass_minutes(30)
    closed = ClosedBars("venue", MINUTE, market.fill, market.clock, since=NOON)

    async def play() -> list[Bar]:
        heard: list[Bar] = []
        for index, (minute, final) in enumerate(told):
            if index in drops:
                closed.interrupt()
            heard += await closed.add(update(minute, final))
        return heard + await closed.resume("A")

    assert asyncio.run(play()) == [bar(m) for m in range(30)]


def test_any_source_can_fill_gaps() -> None:
    """The history of a source becomes bars with its name on them."""
    source: Source = find_source("simulated")
    table = source.history(("SIM00",))
    first, last = table["timestamp"][0].as_py(), table["timestamp"][3].as_py()
    bars = asyncio.run(_ask(source, first, last))
    assert [one.close for one in bars] == table["close"].slice(0, 4).to_pylist()
    assert {(one.provider, one.open) for one in bars} == {("simulated", None)}


async def _ask(source: Source, start: datetime, end: datetime) -> Sequence[Bar]:
    return await history_fill(source, "1d")("SIM00", start, end)


def test_history_that_cannot_be_is_refused() -> None:
    """A negative price in history is an error that names the provider."""
    table = find_source("simulated").history(("SIM00",)).slice(0, 1)
    column = table.schema.get_field_index("close")
    with pytest.raises(DataError, match="simulated"):
        list(stored_bars(table.set_column(column, table.schema.field(column), [[-1.0]]), "simulated"))


def test_a_frequency_that_is_not_there_is_named() -> None:
    """The error lists the frequencies that there are."""
    assert period_of("4h") == timedelta(hours=4)
    with pytest.raises(DataError, match=r"'2y'.*1m, 5m"):
        period_of("2y")


def test_a_line_that_fell_silent_is_not_believed(market: Market) -> None:
    """An open bar is closed by the clock only if the line spoke after its end; else history gives it."""
    for spoke, price, asked in ((70, 42.0, 0), (59, 100.0, 1)):
        market = Market()
        closed = market.bars()
        feed(closed, update(0, final=False, close=42.0))
        market.pass_minutes(65 / 60)
        heard = NOON + timedelta(seconds=spoke)
        found = run(closed.overdue(heard))
        assert (found == []) == (spoke == 59), "a silent line is given a second grace"
        market.pass_minutes(5 / 60)
        found += run(closed.overdue(heard))
        assert [one.close for one in found] == [price]
        assert len(market.asked) == asked
