"""Past bars of one symbol, page after page."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from alphaloop.errors import DataError
from alphaloop.market import BARS_SCHEMA, Bar
from features.sources.ccxt.exchange import Connection
from features.venues.closed_bars import period_of

# Pages that bring nothing before it is believed that there is nothing more.
EMPTY_PAGES = 3
DEFAULT_PAGE = 500

log = logging.getLogger(__name__)


async def past_bars(
    connection: Connection, symbol: str, frequency: str, start: datetime | None, end: datetime
) -> list[Bar]:
    """The closed bars with `start <= timestamp <= end`, oldest first; `end` must not lie ahead.

    Without `start`, one page: the most recent bars that the exchange gives in one answer. Raises as
    `Connection.call`, and `DataError` for a candle that no market prints.
    """
    period = period_of(frequency)
    page = _page_size(connection.api)
    first = end - page * period if start is None else start - period
    cursor, last = _milliseconds(first, up=True), _milliseconds(end - period)
    step = int(period.total_seconds() * 1000)
    found: dict[int, Bar] = {}
    empty = 0
    while cursor <= last and empty < EMPTY_PAGES:
        candles = await connection.call(
            f"bars of {symbol}", connection.api.fetch_ohlcv, symbol, frequency, cursor, page
        )
        bars = _bars(connection.provider, symbol, candles, period)
        fresh = {opened: bar for opened, bar in bars.items() if opened >= cursor}
        found |= {opened: bar for opened, bar in fresh.items() if opened <= last}
        empty = 0 if fresh else empty + 1
        # Some exchanges answer for the window after `since` alone, so an empty page is stepped over.
        cursor = max(fresh) + step if fresh else cursor + page * step
    ordered = [found[opened] for opened in sorted(found)]
    if start is not None and ordered and ordered[0].timestamp > start + page * period:
        log.warning(
            "%s gives bars of %s from %s on only; %s was asked for",
            connection.provider,
            symbol,
            ordered[0].timestamp,
            start,
        )
    return ordered


def to_table(bars: Sequence[Bar]) -> pa.Table:
    """Bars as rows of `BARS_SCHEMA`, sorted by timestamp and symbol."""
    ordered = sorted(bars, key=lambda bar: (bar.timestamp, bar.symbol))
    columns = [[getattr(bar, name) for bar in ordered] for name in BARS_SCHEMA.names]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, BARS_SCHEMA, strict=True)]
    return pa.table(arrays, schema=BARS_SCHEMA)


def candle(row: Any) -> tuple[datetime, float, float, float, float, float]:
    """A candle of ccxt: when it opened, open, high, low, close, volume; `ValueError` for what is none."""
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
    found = {}
    for row in candles:
        try:
            start, first, high, low, close, volume = candle(row)
            bar = Bar(symbol, start + period, close, first, high, low, volume, provider=provider)
        except ValueError as error:
            raise DataError(f"{provider}: bars of {symbol}: {error}") from error
        found[_milliseconds(start)] = bar
    return found


def _page_size(api: Any) -> int:
    for kind in ("spot", "swap", "future"):
        described = (api.features or {}).get(kind) or {}
        # Kinds of contracts are described one deeper, by what they settle in.
        described = described.get("linear") or described
        limit = (described.get("fetchOHLCV") or {}).get("limit")
        if limit:
            return int(limit)
    return DEFAULT_PAGE


def _milliseconds(moment: datetime, up: bool = False) -> int:
    value = moment.timestamp() * 1000
    return math.ceil(value) if up else math.floor(value)
