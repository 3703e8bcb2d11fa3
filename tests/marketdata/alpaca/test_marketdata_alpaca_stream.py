"""Alpaca live: over its websocket each closed minute comes once, whatever is sent or breaks off."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection

from alphaloop.errors import VendorError
from marketdata.sources.alpaca import AlpacaSource

from .alpaca_venue import ACTIONS, FACTOR, MINUTE, OPEN, Venue, live
from .alpaca_websocket import collected, forever, minutes_of, telling


def test_a_stream_gives_each_closed_minute_once(alpaca: AlpacaSource, venue: Venue) -> None:
    """Bars are stamped with their close, named after their provider and adjusted as history's are."""
    venue.scripts = [telling(venue, 0, 0, 1, 2, symbols=("AAPL", "MSFT"))]
    bars = asyncio.run(collected(alpaca, venue, 6, ("AAPL", "MSFT")))
    assert minutes_of(bars, "AAPL") == minutes_of(bars, "MSFT") == [0, 1, 2]
    first = bars[0]
    assert (first.provider, first.timestamp, first.close) == ("alpaca", OPEN + MINUTE, 100.0)
    np.testing.assert_allclose([bar.adjustment for bar in bars if bar.symbol == "AAPL"], FACTOR)
    assert {bar.adjustment for bar in bars if bar.symbol == "MSFT"} == {1.0}
    history = alpaca.history(("AAPL",), OPEN + MINUTE, OPEN + 3 * MINUTE, "1m")
    assert history["adjustment"].to_pylist() == [bar.adjustment for bar in bars if bar.symbol == "AAPL"]


def test_a_dropped_stream_loses_nothing_and_repeats_nothing(
    alpaca: AlpacaSource, venue: Venue, waits: list[float]
) -> None:
    """After two drops it has logged in and subscribed anew, and history has filled both holes, in order."""

    async def late(connection: ServerConnection) -> None:
        # The outage lasts until the fifth minute is over.
        venue.clock.advance(OPEN + 6 * MINUTE)
        await telling(venue, 5, 6, drop=True, symbols=symbols)(connection)

    symbols = ("AAPL", "MSFT")
    venue.scripts = [
        telling(venue, 0, 1, 2, drop=True, symbols=symbols),
        late,
        telling(venue, 9, 10, symbols=symbols),
    ]
    bars = asyncio.run(collected(alpaca, venue, 22, symbols))
    for symbol in symbols:
        assert minutes_of(bars, symbol) == list(range(11))
        closes = [bar.close for bar in bars if bar.symbol == symbol]
        assert closes == [100.0 + place for place in range(11)]
    assert len({bar.adjustment for bar in bars if bar.symbol == "AAPL"}) == 1
    assert [sorted(one["bars"]) for one in venue.subscriptions] == [["AAPL", "MSFT"]] * 3
    assert len(waits) == 2
    assert [one.name for one in threading.enumerate() if one.name.startswith("asyncio")] == []


def test_a_quiet_minute_is_not_asked_about(alpaca: AlpacaSource, venue: Venue) -> None:
    """Where nothing traded there is no bar, and while the connection holds nobody looks for one."""
    venue.quiet = {OPEN + MINUTE}
    venue.scripts = [telling(venue, 0, 2, 3, 5)]
    bars = asyncio.run(collected(alpaca, venue, 4, ("AAPL",)))
    assert minutes_of(bars, "AAPL") == [0, 2, 3, 5]
    assert [path for path, query in venue.asked if query.get("timeframe") == "1Min"] == []


def test_the_night_has_no_bars_and_the_morning_its_own_factor(alpaca: AlpacaSource, venue: Venue) -> None:
    """What trades after the close is no bar of the session, and a split is in the first bar after it."""
    monday = datetime(2020, 9, 14, 13, 30, tzinfo=UTC)
    split = {"symbol": "AAPL", "ex_date": "2020-09-14", "new_rate": 2, "old_rate": 1, "id": "three"}
    venue.actions["forward_splits"] = [*ACTIONS["forward_splits"], split]
    venue.quiet = {OPEN + MINUTE * place for place in range(1, 60)}

    async def script(connection: ServerConnection) -> None:
        for start in (OPEN, OPEN + timedelta(hours=6, minutes=30), monday):
            venue.clock.advance(start + MINUTE)
            await connection.send(msgpack.packb([live("AAPL", start)]))
        await forever(connection)

    venue.scripts = [script]
    bars = asyncio.run(collected(alpaca, venue, 2, ("AAPL",)))
    assert [bar.timestamp for bar in bars] == [OPEN + MINUTE, monday + MINUTE]
    np.testing.assert_allclose([bar.adjustment for bar in bars], [FACTOR, 2 * FACTOR])


GOOD = live("AAPL", OPEN + MINUTE)
MALFORMED: dict[str, Any] = {
    "no MessagePack": b"\xc1\xff\x00",
    "cut off": msgpack.packb([GOOD])[:-9],
    "a text frame": '[{"T": "b"}]',
    "a mapping for a list": msgpack.packb(GOOD),
    "a number for a message": msgpack.packb([7]),
    "an unknown type": msgpack.packb([{**GOOD, "T": "zz"}]),
    "no type": msgpack.packb([{"S": "AAPL"}]),
    "another symbol": msgpack.packb([{**GOOD, "S": "TSLA"}]),
    "no close": msgpack.packb([{name: value for name, value in GOOD.items() if name != "c"}]),
    "a price in words": msgpack.packb([{**GOOD, "o": "one"}]),
    "a price that is none": msgpack.packb([{**GOOD, "c": float("nan")}]),
    "a price below zero": msgpack.packb([{**GOOD, "l": -1.0}]),
    "a high below the low": msgpack.packb([{**GOOD, "h": 1.0}]),
    "a volume below zero": msgpack.packb([{**GOOD, "v": -5}]),
    "no time": msgpack.packb([{**GOOD, "t": "2020"}]),
    "a time within a minute": msgpack.packb([live("AAPL", OPEN + timedelta(seconds=61))]),
    "a time in the future": msgpack.packb([live("AAPL", OPEN + timedelta(days=3))]),
    "an error without a code": msgpack.packb([{"T": "error", "msg": "?"}]),
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_is_skipped(
    alpaca: AlpacaSource, venue: Venue, frame: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once and not believed; the minute that it may have been comes from history."""

    async def script(connection: ServerConnection) -> None:
        for minute in (0, 1, 2):
            start = OPEN + MINUTE * minute
            venue.clock.advance(start + MINUTE)
            if minute == 1:
                await connection.send(frame)
                await connection.send(frame)
            else:
                await connection.send(msgpack.packb([live("AAPL", start)]))
        await forever(connection)

    venue.scripts = [script]
    with caplog.at_level(logging.WARNING, "features"):
        bars = asyncio.run(collected(alpaca, venue, 3, ("AAPL",)))
    assert minutes_of(bars, "AAPL") == [0, 1, 2]
    assert [bar.close for bar in bars] == [100.0, 101.0, 102.0]
    assert sum("skipped a message" in record.message for record in caplog.records) == 1
    assert len(venue.subscriptions) == 1


def test_one_bad_message_does_not_cost_the_rest_of_its_frame(alpaca: AlpacaSource, venue: Venue) -> None:
    """What stands behind a malformed message in the same frame is believed."""

    async def script(connection: ServerConnection) -> None:
        venue.clock.advance(OPEN + MINUTE)
        await connection.send(msgpack.packb([7, {"T": "b"}, live("AAPL", OPEN)]))
        await forever(connection)

    venue.scripts = [script]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]


@pytest.mark.parametrize(
    ("code", "text"), [(406, "connection limit exceeded"), (407, "slow client"), (500, "?")]
)
def test_an_error_that_may_pass_is_met_with_a_new_connection(
    alpaca: AlpacaSource, venue: Venue, code: int, text: str
) -> None:
    """The stream goes on over another connection."""

    async def script(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb([{"T": "error", "code": code, "msg": text}]))
        await forever(connection)

    venue.scripts = [script, telling(venue, 0)]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]
    assert len(venue.subscriptions) == 2


@pytest.mark.parametrize(
    ("code", "text"), [(409, "insufficient subscription"), (405, "symbol limit exceeded")]
)
def test_an_error_that_does_not_pass_ends_the_stream(
    alpaca: AlpacaSource, venue: Venue, code: int, text: str
) -> None:
    """What no new connection mends is a VendorError with the venue's word."""

    async def script(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb([{"T": "error", "code": code, "msg": text}]))
        await forever(connection)

    venue.scripts = [script]
    with pytest.raises(VendorError, match=rf"refuses: {text} \({code}\)"):
        asyncio.run(collected(alpaca, venue, 1, ("AAPL",)))


@pytest.mark.parametrize("greeting", [[], ["hello"], [{"T": "success"}], [{"T": "success", "msg": "busy"}]])
def test_a_strange_greeting_is_met_with_a_new_connection(
    alpaca: AlpacaSource, venue: Venue, waits: list[float], greeting: Any
) -> None:
    """A server that greets with nonsense is asked again, later."""
    venue.greeting = greeting

    async def heal(seconds: float) -> None:
        waits.append(seconds)
        venue.greeting = [{"T": "success", "msg": "connected"}]

    object.__setattr__(alpaca.retry, "async_sleep", heal)
    venue.scripts = [telling(venue, 0)]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]
    assert len(waits) == 1
