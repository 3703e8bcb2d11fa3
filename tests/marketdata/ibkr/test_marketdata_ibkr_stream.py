"""Interactive Brokers live: each minute comes once it is over, however the link to the gateway breaks."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alphaloop.bars import Bar
from alphaloop.errors import UnknownNameError, VendorError
from marketdata.sources.ibkr import IbkrSource

from .ibkr_gateway import BASE, MINUTE, OPEN, Gateway, framed


async def collected(
    ibkr: IbkrSource, gateway: Gateway, steps: list[Any], count: int, *symbols: str
) -> list[Bar]:
    """The first `count` bars of a stream, while the gateway takes its steps, 20 ms apart."""
    bars: list[Bar] = []
    stream = ibkr.stream(symbols)

    async def act() -> None:
        for subscribed, step in steps:
            # A step waits until as many subscriptions have been made since the beginning.
            while sum(one["end"] == "" for one in gateway.asked) < subscribed:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.03)
            gateway.loop.call_soon_threadsafe(step)

    acting = asyncio.create_task(act())
    try:
        async with asyncio.timeout(8):
            async for bar in stream:
                bars.append(bar)
                if len(bars) == count:
                    break
    finally:
        acting.cancel()
        await stream.aclose()
    await asyncio.gather(acting, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return bars


def minutes_of(bars: list[Bar], symbol: str) -> list[int]:
    """The minutes after ten at which the symbol's bars begin."""
    return [round((bar.timestamp - MINUTE - OPEN) / MINUTE) for bar in bars if bar.symbol == symbol]


def at(gateway: Gateway, minute: float, *told: int, close: float | None = None) -> Any:
    """The clock goes to so many minutes after ten, and these minutes are told of."""

    def step() -> None:
        gateway.clock.advance(max(gateway.clock.now(), OPEN + minute * MINUTE))
        for one in told:
            gateway.tell(one, close)

    return step


def test_a_stream_gives_each_minute_once_it_is_over(ibkr: IbkrSource, gateway: Gateway) -> None:
    """An open bar is told again and again; what is given is its last word, when the next one begins."""
    steps = [
        (2, at(gateway, 0.2, 0, close=7.0)),
        (2, at(gateway, 0.5, 0)),
        (2, at(gateway, 1.1, 1)),
        (2, at(gateway, 2.1, 2)),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 4, "AAPL", "MSFT"))
    assert minutes_of(bars, "AAPL") == minutes_of(bars, "MSFT") == [0, 1]
    assert [bar.close for bar in bars if bar.symbol == "AAPL"] == [BASE, BASE + 1]
    assert (bars[0].provider, bars[0].timestamp, bars[0].adjustment) == ("ibkr", OPEN + MINUTE, 1.0)
    assert gateway.logins == [7]


def test_a_minute_closes_by_the_clock_where_nothing_follows(ibkr: IbkrSource, gateway: Gateway) -> None:
    """A symbol that falls silent still gets its last bar, shortly after its period."""
    steps = [(1, at(gateway, 0.2, 0)), (1, at(gateway, 1.2))]
    bars = asyncio.run(collected(ibkr, gateway, steps, 1, "AAPL"))
    assert minutes_of(bars, "AAPL") == [0]


@pytest.mark.parametrize("how", ["dropped", "1100", "1101", "1102", "garbage"])
def test_a_broken_stream_loses_nothing_and_repeats_nothing(
    ibkr: IbkrSource, gateway: Gateway, waits: list[float], how: str
) -> None:
    """However the link breaks, it subscribes anew, and what closed meanwhile comes in order, once."""

    def breaking() -> None:
        if how == "dropped":
            gateway.drop()
        elif how == "garbage":
            gateway.say(framed("what", "is", "this") + framed(90, "x") + struct.pack(">I", 3) + b"\xff\xfe\0")
            gateway.drop()
        else:
            gateway.say(framed(4, 2, -1, int(how), "Connectivity between IB and TWS", ""))
        gateway.clock.advance(OPEN + 5.5 * MINUTE)

    steps = [
        (2, at(gateway, 0.2, 0)),
        (2, at(gateway, 1.2, 1)),
        (2, at(gateway, 2.2, 2)),
        (2, breaking),
        (4, at(gateway, 6.1, 6)),
        (4, at(gateway, 7.1, 7)),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 14, "AAPL", "MSFT"))
    for symbol in ("AAPL", "MSFT"):
        assert minutes_of(bars, symbol) == list(range(7))
        assert [bar.close for bar in bars if bar.symbol == symbol] == [BASE + one for one in range(7)]
    assert gateway.logins == [7, 7]
    assert len(waits) == 1
    assert [one.name for one in threading.enumerate() if one.name.startswith(("asyncio", "ibkr"))] == []


def test_an_outage_over_a_weekend_is_filled_from_history(ibkr: IbkrSource, gateway: Gateway) -> None:
    """What the new subscription does not reach back to comes from history, the bar that was open included."""

    def breaking() -> None:
        gateway.drop()
        gateway.clock.advance(OPEN + timedelta(days=3, seconds=5))

    steps = [
        (1, at(gateway, 0.2, 0)),
        (1, at(gateway, 1.2, 1)),
        (1, at(gateway, 2.2, 2, close=5.0)),
        (1, breaking),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 390, "AAPL"))
    moments = [bar.timestamp for bar in bars]
    assert moments == sorted(set(moments))
    assert (moments[359], moments[360]) == (
        datetime(2020, 9, 11, 20, tzinfo=UTC),
        datetime(2020, 9, 14, 13, 31, tzinfo=UTC),
    )
    assert moments[-1] == OPEN + timedelta(days=3)
    assert bars[2].close == BASE + 2


def test_impossible_bars_are_refused(
    ibkr: IbkrSource, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """A price below zero and fields that are none are skipped; the bar's next update is believed."""

    def nonsense() -> None:
        start = int((OPEN + MINUTE).timestamp())
        for request in gateway.live:
            gateway.say(framed(90, request, 7, start, "one", 1, 1, 1, 1, 100))
            gateway.say(framed(90, request, 7, start))
            gateway.say(framed(90, request, 7, "now", 1, 1, 1, 1, 1, 100))
            gateway.say(framed(90, "x", 7, start, 1, 1, 1, 1, 1, 100))
            gateway.say(framed(90, request, 7, start, -1, -1, -1, -1, -1, 100))

    steps = [
        (1, at(gateway, 0.2, 0)),
        (1, at(gateway, 1.2, 1)),
        (1, nonsense),
        (1, at(gateway, 1.8, 1)),
        (1, at(gateway, 2.2, 2)),
    ]
    with caplog.at_level(logging.CRITICAL, "ib_async"):
        bars = asyncio.run(collected(ibkr, gateway, steps, 2, "AAPL"))
    assert minutes_of(bars, "AAPL") == [0, 1]
    assert [bar.close for bar in bars] == [BASE, BASE + 1]
    assert gateway.logins == [7]


def test_a_subscription_that_is_refused_ends_the_stream(ibkr: IbkrSource, gateway: Gateway) -> None:
    """An unknown symbol and a missing permission are raised, not tried for ever."""
    with pytest.raises(UnknownNameError, match="'APPL'"):
        asyncio.run(collected(ibkr, gateway, [], 1, "APPL"))
    gateway.faults = [(10089, "Requested market data requires additional subscription")]
    with pytest.raises(VendorError, match="10089 on 'AAPL'"):
        asyncio.run(collected(ibkr, gateway, [], 1, "AAPL"))
