"""Bars and errors of Interactive Brokers (TWS API, "Message Codes")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from alphaloop.bars import PRICE_COLUMNS, to_datetime64
from alphaloop.errors import UnknownNameError, VendorError
from marketdata.calendars import closes_of
from marketdata.connectors.closed_bars import PERIODS, BarUpdate
from marketdata.connectors.rate_limit import VenueUnavailableError
from marketdata.connectors.session_hours import regular_closes
from marketdata.source import bars_table

NO_CONTRACT, HISTORY_ERROR, PACING_VIOLATION = 200, 162, 420
# Seconds after a pacing violation: sixty requests in ten minutes are allowed, and haste makes it worse.
PACING_PAUSE = 60.0
# Codes of the link between the gateway and Interactive Brokers: lost, back without the data, back with it.
LINK_LOST, LINK_BACK = 1100, (1101, 1102)
NO_LIVE_UPDATES = 10182
# Notices about data farms, and about requests that were cancelled on purpose.
NOTICE_CODES = {162, 366}
# Codes for a gateway or data farm that is temporarily away.
TEMPORARY_CODES = {PACING_VIOLATION, NO_LIVE_UPDATES, LINK_LOST, *LINK_BACK, 502, 504, 1300, 2110}


def error_for_code(symbol: str, code: int, text: str) -> Exception | None:
    """Return the error for a code about the bars of `symbol`; None for "no bars"."""
    if code == HISTORY_ERROR and "no data" in text.lower():
        return None
    shown = f"Interactive Brokers answers {code} on '{symbol}': {text}"
    if code == NO_CONTRACT:
        hint = f"Interactive Brokers says: {text}; look it up in its contract search"
        return UnknownNameError("symbol", symbol, (), where="source 'ibkr'", hint=hint)
    if code == PACING_VIOLATION or (code == HISTORY_ERROR and "pacing" in text.lower()):
        return VenueUnavailableError(shown, PACING_PAUSE)
    if code in TEMPORARY_CODES:
        return VenueUnavailableError(shown)
    return VendorError(shown)


def bar_start(bar: Any, period: timedelta) -> datetime:
    """Return the beginning of an intraday bar's period.

    Hours are cut by the clock, so the first one of a session is short.
    """
    moment: datetime = bar.date.astimezone(UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // period * period


def to_update(symbol: str, bar: Any, period: timedelta, final: bool) -> BarUpdate:
    """Convert a bar of the stream to an update."""
    return BarUpdate(
        symbol=symbol,
        start=bar_start(bar, period),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=max(bar.volume, 0.0),
        final=final,
    )


def session_table(symbol: str, bars: Sequence[Any], frequency: str) -> pa.Table:
    """Return bars of the regular session as `BARS_SCHEMA`, each once.

    The venue's volume of -1 means not given.
    """
    if frequency == "1d":
        closes = closes_of([bar.date for bar in bars])
    else:
        starts = [to_datetime64(bar_start(bar, PERIODS[frequency])) for bar in bars]
        closes = regular_closes(np.array(starts, dtype="datetime64[ns]"), PERIODS[frequency])
    kept, first = np.unique(closes, return_index=True)
    first = first[~np.isnat(kept)]
    rows = [bars[index] for index in first]
    columns = {name: np.array([getattr(bar, name) for bar in rows], dtype=float) for name in PRICE_COLUMNS}
    columns["volume"] = np.array([bar.volume if bar.volume >= 0 else np.nan for bar in rows], dtype=float)
    columns["adjustment"] = np.ones(len(rows))
    return bars_table(symbol, closes[first], columns)
