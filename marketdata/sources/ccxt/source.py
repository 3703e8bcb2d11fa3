"""Source `ccxt:<exchange>`: the markets of an exchange, past and live."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from alphaloop.bars import Bar
from alphaloop.clock import Clock, SystemClock, as_utc
from alphaloop.errors import DataError, InputError, UnknownNameError
from marketdata.connectors.closed_bars import PERIODS
from marketdata.connectors.order_book import OrderBook
from marketdata.connectors.retry import RetryPolicy
from marketdata.connectors.run_sync import run_coroutine
from marketdata.connectors.trades import Trade
from marketdata.source import CalendarName, Source, require_frequency
from marketdata.sources.ccxt import live
from marketdata.sources.ccxt.exchange import ConnectionParameters, ExchangeConnection, ccxt_module
from marketdata.sources.ccxt.feed import Subscription, WebsocketFeed
from marketdata.sources.ccxt.history import past_bars, to_table

PREFIX = "ccxt"

Answer = TypeVar("Answer")


class CcxtSource:
    """One exchange. No request is sent, and no credential is read, before the first use.

    `configuration` goes into ccxt's constructor (URLs, proxies, options). `retry` bounds each REST
    request; its errors and its Retry-After are set here. A websocket without messages for `stall` seconds is
    reopened. `counts` has the events of streams: `dropped` connections, `gap`s and bars `filled`, messages
    `refused`, `duplicate`, `correction` and `late` bars, `unfilled` attempts.
    """

    calendar: CalendarName = "24/7"
    adjusted_only = False

    def __init__(
        self,
        exchange: str,
        *,
        configuration: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        stall: float = 60.0,
        tick: float = 1.0,
    ) -> None:
        self.exchange = exchange
        self.name = f"{PREFIX}:{exchange}"
        self.description = f"bars of {exchange}, past and live (REST and websocket by ccxt)"
        self.counts: Counter[str] = Counter()
        self._clock = clock or SystemClock()
        self._retry = retry or RetryPolicy(on=())
        self._opening = ConnectionParameters(
            exchange, self.name, self._clock, self._retry, configuration or {}
        )
        self._stall, self._tick = stall, tick
        self._markets: Mapping[str, Any] | None = None

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol that can be traded now, sorted, as ccxt writes it: BTC/USDT."""
        return run_coroutine(self._with_connection(self._known))

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return closed bars with `start <= timestamp <= end`, of `BARS_SCHEMA`, stamped with their close.

        The bar that is still open is left out. Without `start`, as far back as the exchange has them. Raises
        `UnknownNameError`, `DataError` for a frequency that the exchange lacks or a malformed answer,
        `VendorError` for a refusal, and `GaveUpError` (a `VendorError`) if the exchange stays unreachable.
        """
        now = self._clock.now()
        until = now if end is None else min(as_utc(end), now)
        since = None if start is None else as_utc(start)

        async def bars(connection: ExchangeConnection) -> list[Bar]:
            selected = await self._require(connection, symbols, frequency)
            return [
                bar
                for symbol in selected
                for bar in await past_bars(connection, symbol, frequency, since, until)
            ]

        return to_table(run_coroutine(self._with_connection(bars)))

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncGenerator[Bar, None]:
        """Yield closed bars as `marketdata.source.LiveSource` defines them, over one connection.

        Built from trades where the exchange streams no bars.
        """
        selected = await self._with_connection(lambda one: self._require(one, symbols, frequency))
        candles = self._has("watchOHLCV")
        subject: Callable[[], Subscription] = (
            partial(live.BarSubscription, frequency) if candles else live.TradeSubscription
        )
        bars = live.LiveBars(self.name, selected, frequency, self._clock, self.counts)
        async with aclosing(bars.bars(self._feed(subject, selected))) as each:
            async for bar in each:
                yield bar

    async def watch_trades(self, symbols: Sequence[str]) -> AsyncGenerator[Trade, None]:
        """Yield trades as they happen, each once. Raises as `stream`."""
        selected = await self._with_connection(lambda one: self._require(one, symbols))
        feed = self._feed(live.TradeSubscription, selected)
        async with aclosing(live.stream_trades(feed, self.name, self.counts)) as each:
            async for trade in each:
                yield trade

    async def watch_book(self, symbols: Sequence[str]) -> AsyncGenerator[OrderBook, None]:
        """Yield the best five levels of each book, whenever they change. Raises as `stream`.

        `marketdata.connectors.order_book.OrderBooks` attaches them to bars.
        """
        selected = await self._with_connection(lambda one: self._require(one, symbols))
        feed = self._feed(partial(live.BookSubscription, live.BOOK_DEPTH.get(self.exchange)), selected)
        books = live.stream_books(feed, self.name, self._clock, self.counts)
        async with aclosing(books) as each:
            async for book in each:
                yield book

    def _feed(self, subject: Callable[[], Subscription], symbols: Sequence[str]) -> WebsocketFeed:
        return WebsocketFeed(self._connect, subject, symbols, self._retry, self._stall, self._tick)

    def _connect(self) -> ExchangeConnection:
        return ExchangeConnection(self._opening, self._markets)

    def _has(self, ability: str) -> bool:
        from ccxt import pro

        if self.exchange not in pro.exchanges:
            raise DataError(f"'{self.name}' has no live data in ccxt; ask for its history instead")
        return bool(getattr(pro, self.exchange)().has.get(ability))

    async def _with_connection(
        self, use: Callable[[ExchangeConnection], Coroutine[Any, Any, Answer]]
    ) -> Answer:
        async with self._connect() as connection:
            self._markets = await connection.markets()
            return await use(connection)

    async def _known(self, connection: ExchangeConnection) -> tuple[str, ...]:
        markets = await connection.markets()
        if not markets:
            raise DataError(f"{self.name} told of no markets; the answer is malformed")
        return tuple(sorted(name for name, market in markets.items() if market.get("active") is not False))

    async def _require(
        self, connection: ExchangeConnection, symbols: Sequence[str], frequency: str | None = None
    ) -> tuple[str, ...]:
        """Return `symbols` if the exchange has them all, and the frequency."""
        known = await self._known(connection)
        if not symbols:
            raise InputError(f"source '{self.name}' has {len(known)} symbols; name those that are wanted")
        for symbol in symbols:
            if symbol not in known:
                near = get_close_matches(symbol.upper(), known, n=8)
                raise UnknownNameError("symbol", symbol, near or known, where=f"source '{self.name}'")
        if frequency is not None:
            offered = connection.api.timeframes or {}
            require_frequency(self, frequency, [period for period in PERIODS if period in offered])
        return tuple(dict.fromkeys(symbols))


class CcxtFamily:
    """Family `ccxt:<exchange>`: every exchange in ccxt."""

    prefix = PREFIX
    description = "one exchange each, past and live, by REST and websocket (ccxt): ccxt:binance, ccxt:kraken"

    def names(self) -> tuple[str, ...]:
        """Return every exchange in ccxt, sorted."""
        return tuple(sorted(ccxt_module().exchanges))

    def identity(self, name: str) -> str:
        """Return the name alone: an exchange has no options."""
        return f"{PREFIX}:{name}"

    def find(self, name: str) -> Source:
        """Return the exchange as a source; `UnknownNameError` lists similar names."""
        known = self.names()
        if name not in known:
            near = get_close_matches(name.lower(), known, n=8)
            raise UnknownNameError("exchange", name, near or known, where="ccxt")
        return CcxtSource(name)


FAMILY = CcxtFamily()
