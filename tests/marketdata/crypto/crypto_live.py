"""A live source before an exchange that follows a script, and the bars that are true of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from alphaloop.bars import Bar
from marketdata.connectors.retry import RetryPolicy
from marketdata.sources.ccxt.source import CcxtSource

from . import crypto_venues

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
T = TypeVar("T")


def source(venue: Any, **changes: Any) -> CcxtSource:
    retry = RetryPolicy(on=(), attempts=3, base=0.005, cap=0.02, deadline=5.0)
    name = venue.provider.removeprefix("ccxt:")
    settings = {"configuration": venue.configuration(), "clock": venue.clock, "retry": retry, "tick": 0.01}
    return CcxtSource(name, **settings | changes)


def opened(minute: int) -> int:
    """When the candle of the minute opened, in milliseconds."""
    return int((NOON + minute * MINUTE).timestamp() * 1000)


def bar(venue: Any, symbol: str, minute: int) -> Bar:
    one: Bar = crypto_venues.truth(symbol.partition("/")[0], opened(minute)).bar(symbol, venue.provider)
    return one


def tell(venue: Any, symbol: str, minute: int, final: bool = True) -> None:
    """The venue tells of a candle; while it is open, its close is another."""
    base = symbol.partition("/")[0]
    if venue.provider == "ccxt:binance":
        venue.send(
            venue.kline(
                base, opened(minute), final, None if final else 100.0 + crypto_venues.BASES.index(base)
            )
        )
        return
    one = crypto_venues.truth(base, opened(minute))
    if not final:
        one = crypto_venues.Candle(one.opened, one.open, one.high, one.low, one.open, 1.0)
    venue.send(venue.candle(symbol, [one]))


def watch(stream: AsyncIterator[T], script: Callable[[], None], enough: Callable[[list[T]], bool]) -> list[T]:
    """What the stream gives while the script runs beside it, until both that is enough and it is through."""
    found: list[T] = []
    failures: list[BaseException] = []
    satisfied = asyncio.Event()

    def play() -> None:
        try:
            script()
        except BaseException as error:  # noqa: BLE001 - shown by the test that waits
            failures.append(error)

    async def listen() -> None:
        async with aclosing(stream) as each:  # type: ignore[type-var]
            async for one in each:
                found.append(one)
                if enough(found):
                    satisfied.set()

    async def both() -> None:
        listening = asyncio.create_task(listen())
        listening.add_done_callback(lambda _: satisfied.set())
        playing = asyncio.create_task(asyncio.to_thread(play))
        try:
            async with asyncio.timeout(40):
                await satisfied.wait()
        except TimeoutError:
            failures.append(AssertionError(f"after 40 s only {found}"))
        await playing
        listening.cancel()
        await asyncio.wait({listening}, timeout=5)
        if not listening.cancelled():
            listening.result()

    asyncio.run(both())
    assert not failures, failures
    return found


def bars_of(found: list[Bar], symbol: str) -> list[Bar]:
    return [one for one in found if one.symbol == symbol]


def ready(venue: Any, count: int, connection: int = 1) -> None:
    """Until the venue has that many subscriptions on its n-th connection."""
    venue.wait(lambda: len(venue.subscribed) >= connection and len(venue.subscribed[connection - 1]) >= count)
