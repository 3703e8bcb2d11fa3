"""Past bars of one symbol, page after page."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, Bar
from alphaloop.errors import DataError, VendorError
from marketdata.connectors.closed_bars import period_of
from marketdata.connectors.retry import GaveUpError
from marketdata.sources.ccxt.exchange import ExchangeConnection

# No exchange has bars from before the first bitcoin.
BEGINNING = datetime(2009, 1, 3, tzinfo=UTC)
# Number of empty pages read one by one before the steps grow.
MAX_EMPTY_PAGES = 3
DEFAULT_PAGE_SIZE = 500

log = logging.getLogger(__name__)


async def past_bars(
    connection: ExchangeConnection, symbol: str, frequency: str, start: datetime | None, end: datetime
) -> list[Bar]:
    """Return the closed bars with `start <= timestamp <= end`, oldest first.

    `end` must not lie ahead. Without `start`, as far back as the exchange has them. Pages are requested from
    the end backwards; where the exchange refuses to go further back, or has no bars as old as `start`, a log
    line says so. Raises as `Connection.call`, and `DataError` for an impossible candle.
    """
    period = period_of(frequency)
    pages = _Pages(connection, symbol, frequency, period)
    first = BEGINNING if start is None else start - period
    by_start = await pages.back(_milliseconds(first, up=True), _milliseconds(end - period))
    ordered = [by_start[opened] for opened in sorted(by_start)]
    if start is not None and ordered and ordered[0].timestamp > start + pages.size * period:
        log.warning(
            "%s gives bars of %s from %s on only; %s was asked for",
            connection.provider,
            symbol,
            ordered[0].timestamp,
            start,
        )
    return ordered


class _Pages:
    """Pages of one symbol's candles; positions are the milliseconds at which a candle opened."""

    def __init__(
        self, connection: ExchangeConnection, symbol: str, frequency: str, period: timedelta
    ) -> None:
        self.size = _page_size(connection.api)
        self._connection, self._symbol, self._frequency = connection, symbol, frequency
        self._period = period
        self._step = int(period.total_seconds() * 1000)

    async def back(self, first: int, last: int) -> dict[int, Bar]:
        """Return all candles from `first` to `last`, read from the end backwards.

        Where an exchange has no candles, some answer with later ones and some with none. So an empty page is
        skipped, with growing steps; where candles are found beyond, the pages between are read as well.
        """
        by_start: dict[int, Bar] = {}
        page = self.size * self._step
        span = page
        while first <= last:
            begin = max(first, last - span + 1)
            try:
                read = await self._forward(begin, last)
            except VendorError as error:
                if isinstance(error, GaveUpError) or not by_start:
                    raise
                log.warning("%s refuses older bars of %s: %s", self._connection.provider, self._symbol, error)
                break
            if read:
                by_start |= read
                last, span = begin - 1, page
            elif begin == first:
                break
            else:
                span += page if span < MAX_EMPTY_PAGES * page else span
        return by_start

    async def _forward(self, cursor: int, last: int) -> dict[int, Bar]:
        """Return the candles from `cursor` to `last`; none where the first page has none."""
        by_start: dict[int, Bar] = {}
        while cursor <= last:
            bars = await self._page(cursor)
            fresh = {opened: bar for opened, bar in bars.items() if opened >= cursor}
            by_start |= {opened: bar for opened, bar in fresh.items() if opened <= last}
            if not by_start:
                break
            # Some exchanges answer for the window after `since` alone, so an empty page is skipped.
            cursor = max(fresh) + self._step if fresh else cursor + self.size * self._step
        return by_start

    async def _page(self, since: int) -> dict[int, Bar]:
        candles = await self._connection.call(
            f"bars of {self._symbol}",
            self._connection.api.fetch_ohlcv,
            *(self._symbol, self._frequency, since, self.size),
        )
        return _bars(self._connection.provider, self._symbol, candles, self._period)


def to_table(bars: Sequence[Bar]) -> pa.Table:
    """Convert bars to rows of `BARS_SCHEMA`, sorted by timestamp and symbol."""
    ordered = sorted(bars, key=lambda bar: (bar.timestamp, bar.symbol))
    columns = [[getattr(bar, name) for bar in ordered] for name in BARS_SCHEMA.names]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, BARS_SCHEMA, strict=True)]
    return pa.table(arrays, schema=BARS_SCHEMA)


def parse_candle(row: Any) -> tuple[datetime, float, float, float, float, float]:
    """Parse a candle of ccxt: opening time, open, high, low, close, volume; `ValueError` if invalid."""
    try:
        opened, *values = row[:6]
        start = datetime.fromtimestamp(int(opened) / 1000, UTC)
        first, high, low, close, volume = (float(value) for value in values)
    except (TypeError, ValueError, OverflowError, OSError, KeyError) as error:
        raise ValueError(f"{str(row)[:120]} is no candle: {error}") from error
    if not math.isfinite(volume):
        raise ValueError(f"{str(row)[:120]} is no candle: volume is {volume}")
    return start, first, high, low, close, volume


def _bars(provider: str, symbol: str, candles: Any, period: timedelta) -> dict[int, Bar]:
    if not isinstance(candles, list):
        raise DataError(f"{provider}: bars of {symbol}: {str(candles)[:120]!r} is no list of candles")
    by_start = {}
    for row in candles:
        try:
            start, first, high, low, close, volume = parse_candle(row)
            bar = Bar(symbol, start + period, close, first, high, low, volume, provider=provider)
        except ValueError as error:
            raise DataError(f"{provider}: bars of {symbol}: {error}") from error
        by_start[_milliseconds(start)] = bar
    return by_start


def _page_size(api: Any) -> int:
    for kind in ("spot", "swap", "future"):
        described = (api.features or {}).get(kind) or {}
        # Contracts are described one level deeper, by their settlement currency.
        described = described.get("linear") or described
        limit = (described.get("fetchOHLCV") or {}).get("limit")
        if limit:
            return int(limit)
    return DEFAULT_PAGE_SIZE


def _milliseconds(moment: datetime, up: bool = False) -> int:
    value = moment.timestamp() * 1000
    return math.ceil(value) if up else math.floor(value)
