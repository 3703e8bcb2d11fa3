"""Live bars, trades and order books from the websocket of an exchange."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import Any

from alphaloop.bars import Bar
from alphaloop.clock import Clock
from alphaloop.errors import DataError
from marketdata.connectors.closed_bars import BarUpdate, ClosedBars, period_of
from marketdata.connectors.order_book import LEVELS, OrderBook
from marketdata.connectors.retry import GaveUpError
from marketdata.connectors.trades import Trade, TradeBars
from marketdata.sources.ccxt.exchange import ExchangeConnection
from marketdata.sources.ccxt.feed import (
    ConnectionDropped,
    ConnectionOpened,
    DataReceived,
    FeedEvent,
    Heartbeat,
    MessageRefused,
    WebsocketFeed,
)
from marketdata.sources.ccxt.history import parse_candle, past_bars

# Maximum number of symbols in one subscription: Binance accepts 200.
MAX_SYMBOLS_PER_SUBSCRIPTION = 200
# Requested levels. Fewer make a cheaper snapshot; exchanges not listed use their default.
BOOK_DEPTH = {"binance": 100, "binanceus": 100, "binanceusdm": 100, "binancecoinm": 100}

log = logging.getLogger(__name__)


class BarSubscription:
    """Bars as the exchange builds them."""

    def __init__(self, frequency: str) -> None:
        self._frequency = frequency
        self._seen: dict[str, list[tuple[Any, ...]]] = {}

    def watches(self, api: Any, symbols: Sequence[str]) -> list[Callable[[], Awaitable[Any]]]:
        """Return one subscription for many symbols where the exchange supports it."""
        if api.has.get("watchOHLCVForSymbols"):
            pairs = [[symbol, self._frequency] for symbol in symbols]
            return [partial(api.watch_ohlcv_for_symbols, some) for some in _parts(pairs)]
        return [partial(api.watch_ohlcv, symbol, self._frequency) for symbol in symbols]

    def read(self, api: Any, symbol: str) -> list[Any]:
        """Return the candles that are new or have changed, as ccxt's rows."""
        rows = [tuple(row) for row in (api.ohlcvs.get(symbol) or {}).get(self._frequency) or ()]
        seen = self._seen.get(symbol, [])
        self._seen[symbol] = rows
        return [row for row in rows if row not in seen]


class TradeSubscription:
    """Trades."""

    def watches(self, api: Any, symbols: Sequence[str]) -> list[Callable[[], Awaitable[Any]]]:
        """Return one subscription for many symbols where the exchange supports it."""
        if api.has.get("watchTradesForSymbols"):
            return [partial(api.watch_trades_for_symbols, some) for some in _parts(symbols)]
        return [partial(api.watch_trades, symbol) for symbol in symbols]

    def read(self, api: Any, symbol: str) -> list[Any]:
        """Return the trades since the last call, as ccxt's dictionaries."""
        trades = api.trades.get(symbol)
        if not trades:
            return []
        new = trades.getLimit(symbol, None) or 0
        return list(trades[-new:]) if new else []


class BookSubscription:
    """Order books: the best levels."""

    def __init__(self, depth: int | None) -> None:
        self._depth = depth
        self._seen: dict[str, Any] = {}

    def watches(self, api: Any, symbols: Sequence[str]) -> list[Callable[[], Awaitable[Any]]]:
        """Return one subscription for many symbols where the exchange supports it."""
        if api.has.get("watchOrderBookForSymbols"):
            return [partial(api.watch_order_book_for_symbols, some, self._depth) for some in _parts(symbols)]
        return [partial(api.watch_order_book, symbol, self._depth) for symbol in symbols]

    def read(self, api: Any, symbol: str) -> list[Any]:
        """Return the best levels and the time, if changed: one `(milliseconds or None, bids, asks)`."""
        book = api.orderbooks.get(symbol)
        if book is None:
            return []
        sides = [[tuple(level[:2]) for level in book[side][:LEVELS]] for side in ("bids", "asks")]
        if sides == self._seen.get(symbol) or not any(sides):
            return []
        self._seen[symbol] = sides
        return [(book.get("timestamp"), *sides)]


class LiveBars:
    """Converts a feed's events to closed bars; gaps are filled over the feed's own connection."""

    def __init__(
        self, provider: str, symbols: Sequence[str], frequency: str, clock: Clock, counts: Counter[str]
    ) -> None:
        self._provider, self._symbols, self._frequency = provider, symbols, frequency
        self._clock, self._counts = clock, counts
        period = period_of(frequency)
        self._closed = ClosedBars(provider, period, self._fill, clock, counts=counts)
        self._built = TradeBars(period)
        self._connection: ExchangeConnection | None = None
        self._resuming = False

    async def bars(self, feed: WebsocketFeed) -> AsyncGenerator[Bar, None]:
        """Yield closed bars, each symbol's in order and each once."""
        async with aclosing(feed.events()) as events:
            async for event in events:
                async for bar in self._after(event):
                    yield bar

    async def _after(self, event: FeedEvent) -> AsyncGenerator[Bar, None]:
        if isinstance(event, ConnectionOpened):
            self._connection = event.connection
        elif isinstance(event, MessageRefused):
            self._closed.refuse(event.kind, event.detail)
            self._built.interrupt()
        elif isinstance(event, ConnectionDropped):
            self._counts["dropped"] += 1
            self._closed.interrupt()
            self._built.interrupt()
            self._resuming = True
        elif isinstance(event, Heartbeat):
            for bar in await self._tried(partial(self._closed.overdue, event.last_message, event.at)):
                yield bar
        elif isinstance(event, DataReceived):
            # Messages arrive again: missed bars first, then the new message.
            for symbol in self._symbols if self._resuming else ():
                for bar in await self._tried(partial(self._closed.resume, symbol)):
                    yield bar
            self._resuming = False
            update = self._update(event)
            for bar in await self._tried(partial(self._closed.add, update)) if update else ():
                yield bar

    async def _tried(self, step: Callable[[], Awaitable[list[Bar]]]) -> list[Bar]:
        """Return the bars of a step; none while history fails: the next update retries the gap."""
        try:
            return await step()
        except (GaveUpError, DataError) as error:
            self._counts["unfilled"] += 1
            log.warning("%s: a gap stays open for now: %s", self._provider, error)
            return []

    async def _fill(self, symbol: str, start: datetime, end: datetime) -> list[Bar]:
        if self._connection is None:
            return []
        end = min(end, self._clock.now())
        return await past_bars(self._connection, symbol, self._frequency, start, end)

    def _update(self, event: DataReceived) -> BarUpdate | None:
        try:
            if isinstance(event.payload, dict):
                trade = parse_trade(self._provider, event.symbol, event.payload)
                self._built.listen(event.symbol, trade.timestamp)
                return self._built.add(trade)
            return BarUpdate(event.symbol, *parse_candle(event.payload), final=False)
        except ValueError as error:
            self._closed.refuse("a malformed candle or trade", str(error), event.symbol)
            return None


async def stream_trades(
    feed: WebsocketFeed, provider: str, counts: Counter[str]
) -> AsyncGenerator[Trade, None]:
    """Yield trades as they happen, each once; trades during an interruption are not recovered."""
    last: dict[str, datetime] = {}
    ids: dict[str, dict[str, None]] = {}
    reopened: set[str] = set()
    async with aclosing(feed.events()) as events:
        async for event in events:
            if isinstance(event, ConnectionDropped):
                counts["dropped"] += 1
                reopened = set(last)
            elif isinstance(event, MessageRefused):
                _refuse(provider, counts, event.kind, event.detail)
            elif isinstance(event, DataReceived):
                try:
                    trade = parse_trade(provider, event.symbol, event.payload)
                except ValueError as error:
                    _refuse(provider, counts, "a malformed trade", str(error))
                    continue
                known = ids.setdefault(trade.symbol, {})
                again = trade.id in known if trade.id else trade.symbol in reopened
                # Many exchanges repeat the latest trades to each new subscriber.
                if again and trade.timestamp <= last[trade.symbol]:
                    counts["duplicate"] += 1
                    continue
                reopened.discard(trade.symbol)
                known[trade.id] = None
                if len(known) > 1000:
                    del known[next(iter(known))]
                last[trade.symbol] = max(trade.timestamp, last.get(trade.symbol, trade.timestamp))
                yield trade


async def stream_books(
    feed: WebsocketFeed, provider: str, clock: Clock, counts: Counter[str]
) -> AsyncGenerator[OrderBook, None]:
    """Yield the best `LEVELS` of each book whenever they change; an impossible book is left out."""
    async with aclosing(feed.events()) as events:
        async for event in events:
            if isinstance(event, ConnectionDropped):
                counts["dropped"] += 1
            elif isinstance(event, MessageRefused):
                _refuse(provider, counts, event.kind, event.detail)
            elif isinstance(event, DataReceived):
                milliseconds, bids, asks = event.payload
                moment = clock.now() if milliseconds is None else _moment(milliseconds)
                try:
                    yield OrderBook(event.symbol, moment, _levels(bids), _levels(asks), provider)
                except (TypeError, ValueError) as error:
                    _refuse(provider, counts, "an impossible book", str(error))


def parse_trade(provider: str, symbol: str, row: Any) -> Trade:
    """Convert a trade of ccxt; `ValueError` if it is invalid."""
    try:
        side = row.get("side")
        return Trade(
            symbol=symbol,
            timestamp=_moment(row["timestamp"]),
            price=float(row["price"]),
            size=float(row["amount"]),
            side=side if side in ("buy", "sell") else "",
            id=str(row.get("id") or ""),
            provider=provider,
        )
    except (TypeError, KeyError, AttributeError, OverflowError, OSError) as error:
        raise ValueError(f"{str(row)[:120]} is no trade: {error}") from error


def _refuse(provider: str, counts: Counter[str], kind: str, detail: str) -> None:
    counts["refused"] += 1
    if counts[f"refused: {kind}"] == 0:
        log.warning("%s: skipped a message (%s): %.200s", provider, kind, detail)
    counts[f"refused: {kind}"] += 1


def _moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _levels(side: Sequence[Sequence[Any]]) -> tuple[tuple[float, float], ...]:
    return tuple((float(price), float(size)) for price, size in side)


def _parts(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [
        items[first : first + MAX_SYMBOLS_PER_SUBSCRIPTION]
        for first in range(0, len(items), MAX_SYMBOLS_PER_SUBSCRIPTION)
    ]
