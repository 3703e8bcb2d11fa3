"""Past bars of exchanges of every kind: whole, however far back and however the exchange answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from alphaloop.errors import VendorError
from marketdata.connectors.retry import GaveUpError
from marketdata.sources.ccxt.history import past_bars

DAY = timedelta(days=1)
NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
BORN = datetime(2018, 1, 1, tzinfo=UTC)
# A page of a hundred, while the exchange says that it gives a hundred and fifty.
PAGE, SAID = 100, 150


@dataclass
class Exchange:
    """An exchange whose candles opened on `days`; `answers` is what it gives for a time and a count."""

    days: list[datetime]
    answers: Callable[[Exchange, datetime, int], list[datetime]]
    asked: list[datetime] = field(default_factory=list)
    provider: str = "ccxt:any"

    @property
    def api(self) -> Any:
        return SimpleNamespace(
            features={"spot": {"fetchOHLCV": {"limit": SAID}}}, fetch_ohlcv=self.fetch_ohlcv
        )

    async def call(self, what: str, method: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        return await method(*arguments)

    async def fetch_ohlcv(self, symbol: str, frequency: str, since: int, limit: int) -> list[list[float]]:
        begin = datetime.fromtimestamp(since / 1000, UTC)
        self.asked.append(begin)
        return [[day.timestamp() * 1000, 1.0, 1.0, 1.0, 1.0, 9.0] for day in self.answers(self, begin, limit)]


def next_ones(exchange: Exchange, begin: datetime, limit: int) -> list[datetime]:
    """As Binance: the next candles, however late they come."""
    return [day for day in exchange.days if day >= begin][: min(limit, PAGE)]


def in_window(exchange: Exchange, begin: datetime, limit: int) -> list[datetime]:
    """As Coinbase: the candles of the time that a full page spans."""
    return [day for day in exchange.days if begin <= day < begin + limit * DAY]


def newest_ones(exchange: Exchange, begin: datetime, limit: int) -> list[datetime]:
    """As Kraken: of its newest candles those that are asked for, and nothing older."""
    return [day for day in exchange.days if day >= begin][-720:]


def not_too_old(exchange: Exchange, begin: datetime, limit: int) -> list[datetime]:
    """As Gate: a time that is too long ago is refused."""
    if begin < NOW - 1000 * DAY:
        raise VendorError("Candlestick too long ago")
    return next_ones(exchange, begin, limit)


def every_day(*without: tuple[datetime, datetime]) -> list[datetime]:
    """The days from birth to now but those of halts."""
    days = [BORN + count * DAY for count in range((NOW - BORN).days)]
    return [day for day in days if not any(first <= day < after for first, after in without)]


def closes(exchange: Exchange, start: datetime | None = None) -> list[datetime]:
    """When the past bars closed."""
    bars = asyncio.run(past_bars(exchange, "BTC/USDT", "1d", start, NOW))  # type: ignore[arg-type]
    return [bar.timestamp for bar in bars]


@pytest.mark.parametrize("answers", [next_ones, in_window])
@pytest.mark.parametrize("start", [None, datetime(2010, 1, 1, tzinfo=UTC), BORN + 500 * DAY])
def test_every_page_is_read_back_to_the_first(answers: Any, start: datetime | None) -> None:
    """All candles come once and in order, back to the listing or to the day asked for."""
    exchange = Exchange(every_day(), answers)
    expected = [day + DAY for day in exchange.days if start is None or day + DAY >= start]
    assert closes(exchange, start) == expected
    # A page for each hundred candles, and a few beyond the first.
    assert len(exchange.asked) <= 2 * len(expected) / PAGE + 12


@pytest.mark.parametrize("answers", [next_ones, in_window])
@pytest.mark.parametrize("halted", [30, 200, 900])
def test_what_lies_before_a_long_halt_is_found(answers: Any, halted: int) -> None:
    """A market that was halted for years has the history of before; so has one that is halted now."""
    for first in (NOW - 1500 * DAY, NOW - halted * DAY):
        exchange = Exchange(every_day((first, first + halted * DAY)), answers)
        assert closes(exchange) == [day + DAY for day in exchange.days]


def test_where_an_exchange_refuses_older_bars_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """What it gave is kept, and the log holds its words; a refusal of everything is raised."""
    exchange = Exchange(every_day(), not_too_old)
    with caplog.at_level(logging.WARNING):
        found = closes(exchange)
    assert found == [day + DAY for day in exchange.days if day + DAY > found[0] - DAY]
    assert len(found) >= 900
    assert "ccxt:any refuses older bars of BTC/USDT: Candlestick too long ago" in caplog.text
    exchange.days = [day for day in exchange.days if day < NOW - 1200 * DAY]
    with pytest.raises(VendorError, match="too long ago"):
        closes(exchange)


def test_an_exchange_that_goes_away_midway_is_an_error() -> None:
    """A history that broke off is never taken for the whole."""

    def away(exchange: Exchange, begin: datetime, limit: int) -> list[datetime]:
        if len(exchange.asked) > 3:
            raise GaveUpError("nobody answers")
        return next_ones(exchange, begin, limit)

    with pytest.raises(GaveUpError, match="nobody answers"):
        closes(Exchange(every_day(), away))


def test_an_exchange_that_keeps_little_gives_that(caplog: pytest.LogCaptureFixture) -> None:
    """Of one that has no older candles its newest come, without a word unless older ones were asked for."""
    exchange = Exchange(every_day(), newest_ones)
    with caplog.at_level(logging.WARNING):
        assert closes(exchange) == [day + DAY for day in exchange.days[-720:]]
        assert not caplog.text
        closes(exchange, BORN)
    assert "ccxt:any gives bars of BTC/USDT from" in caplog.text
