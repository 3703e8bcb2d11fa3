"""Live bars from Binance and Kraken, through ccxt.pro, over real sockets: closed, true, and each once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest

from alphaloop.bars import Bar
from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, UnknownNameError, VendorError

from . import crypto_venues
from .crypto_live import MINUTE, NOON, bar, bars_of, opened, ready, source, tell, watch


def test_only_closed_bars_come(venue: Any, clock: ReplayClock) -> None:
    """Of a candle told three times while it is open, one bar comes, with its last values, when it closed."""
    symbol = venue.symbols[0]
    one = source(venue)

    def script() -> None:
        ready(venue, 1)
        for minute in range(3):
            tell(venue, symbol, minute, final=False)
            tell(venue, symbol, minute, final=False)
            tell(venue, symbol, minute)
            venue.settle()
            clock.advance(NOON + (minute + 1) * MINUTE)
        tell(venue, symbol, 3, final=False)

    found = watch(one.stream((symbol,)), script, lambda bars: len(bars) == 3)
    assert found == [bar(venue, symbol, minute) for minute in range(3)]
    assert one.counts["gap"] == 0


def test_a_quiet_market_closes_by_the_clock(kraken: Any, clock: ReplayClock) -> None:
    """A bar after which nothing trades comes a few seconds after its minute, if the line is alive."""

    def script() -> None:
        ready(kraken, 1)
        tell(kraken, "C00/USD", 0)
        kraken.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=4))
        kraken.send({"channel": "heartbeat"})
        kraken.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=10))

    found = watch(source(kraken).stream(("C00/USD",)), script, len)
    assert found == [bar(kraken, "C00/USD", 0)]
    assert not any("OHLC" in each["path"] for each in kraken.requests)


def test_a_bar_that_a_dead_line_left_open_is_not_believed(venue: Any, clock: ReplayClock) -> None:
    """Where nothing at all was heard since the minute's end, its bar comes from history."""
    symbol = venue.symbols[0]

    def script() -> None:
        ready(venue, 1)
        tell(venue, symbol, 0, final=False)
        venue.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=10))

    one = source(venue)
    assert watch(one.stream((symbol,)), script, len) == [bar(venue, symbol, 0)]
    assert one.counts["filled"] == 1


def test_bursts_do_not_freeze_the_line(binance: Any, clock: ReplayClock) -> None:
    """After five thousand messages in one burst the line is still read, and the bar is right."""

    def script() -> None:
        ready(binance, 1)
        binance.burst([binance.kline("C00", opened(0), False, 100.0)] * 5000)
        tell(binance, "C00/USDT", 0)
        tell(binance, "C00/USDT", 1, final=False)

    found = watch(source(binance).stream(("C00/USDT",)), script, len)
    assert found == [bar(binance, "C00/USDT", 0)]


def test_a_slow_listener_gets_true_bars(kraken: Any, clock: ReplayClock) -> None:
    """While the listener is busy the end of a bar waits in the queue: it is not taken for silence."""
    busy = threading.Event()

    def script() -> None:
        ready(kraken, 1)
        tell(kraken, "C00/USD", 0)
        tell(kraken, "C00/USD", 1, final=False)
        busy.wait(5)
        clock.advance(NOON + 1.9 * MINUTE)
        tell(kraken, "C00/USD", 1)
        kraken.settle()
        clock.advance(NOON + 2.5 * MINUTE)
        kraken.send({"channel": "heartbeat"})

    async def slowly(bars: AsyncIterator[Bar]) -> AsyncIterator[Bar]:
        async with aclosing(bars) as each:  # type: ignore[type-var]
            async for one in each:
                yield one
                busy.set()
                await asyncio.sleep(0.3)

    found = watch(slowly(source(kraken).stream(("C00/USD",))), script, lambda bars: len(bars) == 2)
    assert found == [bar(kraken, "C00/USD", 0), bar(kraken, "C00/USD", 1)]


def test_fifty_pairs_share_one_connection(venue: Any, clock: ReplayClock) -> None:
    """All bars of 50 pairs come over a single socket, and each of them is the right one."""
    symbols = tuple(venue.symbols[:50])
    one = source(venue)

    def script() -> None:
        ready(venue, 50)
        for minute in range(3):
            for symbol in symbols:
                tell(venue, symbol, minute)
            venue.settle()
            clock.advance(NOON + (minute + 1) * MINUTE)

    found = watch(one.stream(symbols), script, lambda bars: len(bars) == 100)
    assert venue.connections == 1
    for symbol in symbols:
        assert bars_of(found, symbol) == [bar(venue, symbol, 0), bar(venue, symbol, 1)]
    assert len([one for one in venue.requests if "klines" in one["path"] or "OHLC" in one["path"]]) == 0


def test_a_listener_may_leave_while_messages_come(kraken: Any, clock: ReplayClock) -> None:
    """A cancellation that meets a message is not lost, whenever it comes."""

    async def leave(after: float) -> bool:
        one = source(kraken)

        async def listen() -> None:
            async with aclosing(one.stream(("C00/USD",))) as each:  # type: ignore[type-var]
                async for _ in each:
                    pass

        connection = kraken.connections + 1
        listening = asyncio.create_task(listen())
        await asyncio.to_thread(ready, kraken, 1, connection)
        candles = [kraken.candle("C00/USD", [crypto_venues.truth("C00", opened(0))]) for _ in range(300)]
        sending = asyncio.create_task(asyncio.to_thread(kraken.burst, candles))
        await asyncio.sleep(after)
        listening.cancel()
        left, _ = await asyncio.wait({listening}, timeout=2)
        await asyncio.wait({sending})
        return listening in left

    assert all(asyncio.run(leave(moment / 1000)) for moment in range(20))


def test_wrong_credentials_end_the_stream(
    binance: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What trying again cannot mend ends it with an error that shows no key."""
    monkeypatch.setenv("BINANCE_API_KEY", "wrong-key-7f3a")
    monkeypatch.setenv("BINANCE_SECRET", "wrong-secret-91bc")
    with caplog.at_level(logging.DEBUG), pytest.raises(VendorError, match="check the credentials") as caught:
        watch(source(binance).stream(("C00/USDT",)), lambda: None, len)
    assert "wrong-key-7f3a" not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"


def test_wrong_names_are_told_at_once(binance: Any) -> None:
    """An unknown symbol, and an exchange without a websocket, are errors and not silence."""
    with pytest.raises(UnknownNameError, match=r"'BTC/USDT'"):
        watch(source(binance).stream(("BTC/USDT",)), lambda: None, len)
    one = source(binance)
    one.exchange = "bitflyer"
    with pytest.raises(DataError, match=r"no live data"):
        watch(one.stream(("C00/USDT",)), lambda: None, len)


def test_a_closed_stream_leaves_nothing_behind(venue: Any, clock: ReplayClock) -> None:
    """After `aclose` no task is left in the loop and no thread in the process."""
    symbol = venue.symbols[0]

    async def use(connection: int) -> int:
        stream = source(venue).stream((symbol,))
        first = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.to_thread(ready, venue, 1, connection)
        await asyncio.to_thread(tell, venue, symbol, connection)
        clock.advance(NOON + (connection + 1) * MINUTE)
        await asyncio.to_thread(tell, venue, symbol, connection + 1)
        await first
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(use(1)) == 0
    # The resolver keeps one thread of its own for the whole process, from its first use on.
    before = set(threading.enumerate())
    assert asyncio.run(use(2)) == 0
    assert set(threading.enumerate()) <= before
