"""What Interactive Brokers says: bars, and errors by their code (TWS API, "Message Codes")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from alphaloop.bars import PRICE_COLUMNS, to_datetime64
from alphaloop.errors import UnknownNameError, VendorError
from marketdata.calendars import closes_of
from marketdata.connectors.closed_bars import PERIODS, Update
from marketdata.connectors.rate_limit import BusyError
from marketdata.connectors.session_hours import regular_closes
from marketdata.source import bars_table

NO_CONTRACT, HISTORY, PACING = 200, 162, 420
# Seconds after a pacing violation: sixty requests in ten minutes are allowed, and haste makes it worse.
PAUSE = 60.0
# The link between the gateway and Interactive Brokers: lost, back without the data, back with it.
LINK_LOST, LINK_BACK = 1100, (1101, 1102)
NO_LIVE_UPDATES = 10182
# Notices about data farms, and of requests that were cancelled on purpose.
NOTICES = {162, 366}
# The gateway or a data farm is away for now.
PASSING = {PACING, NO_LIVE_UPDATES, LINK_LOST, *LINK_BACK, 502, 504, 1300, 2110}


def answered(symbol: str, code: int, text: str) -> Exception | None:
    """What an error about the bars of `symbol` means; None where it says that there are none."""
    if code == HISTORY and "no data" in text.lower():
        return None
    shown = f"Interactive Brokers answers {code} on '{symbol}': {text}"
    if code == NO_CONTRACT:
        hint = f"Interactive Brokers says: {text}; look it up in its contract search"
        return UnknownNameError("symbol", symbol, (), where="source 'ibkr'", hint=hint)
    if code == PACING or (code == HISTORY and "pacing" in text.lower()):
        return BusyError(shown, PAUSE)
    if code in PASSING:
        return BusyError(shown)
    return VendorError(shown)


def start_of(bar: Any, period: timedelta) -> datetime:
    """When the period of an intraday bar begins: hours are cut by the clock, the first one short."""
    moment: datetime = bar.date.astimezone(UTC)
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // period * period


def update_of(symbol: str, bar: Any, period: timedelta, final: bool) -> Update:
    """A bar of the stream as an update."""
    return Update(
        symbol=symbol,
        start=start_of(bar, period),
        open=bar.open,
        high=bar.high,
        low=bar.low,
        close=bar.close,
        volume=max(bar.volume, 0.0),
        final=final,
    )


def session_table(symbol: str, bars: Sequence[Any], frequency: str) -> pa.Table:
    """Bars of the regular session as `BARS_SCHEMA`, each once. The venue's volume of -1 means none given."""
    if frequency == "1d":
        closes = closes_of([bar.date for bar in bars])
    else:
        starts = [to_datetime64(start_of(bar, PERIODS[frequency])) for bar in bars]
        closes = regular_closes(np.array(starts, dtype="datetime64[ns]"), PERIODS[frequency])
    kept, first = np.unique(closes, return_index=True)
    first = first[~np.isnat(kept)]
    rows = [bars[place] for place in first]
    columns = {name: np.array([getattr(bar, name) for bar in rows], dtype=float) for name in PRICE_COLUMNS}
    columns["volume"] = np.array([bar.volume if bar.volume >= 0 else np.nan for bar in rows], dtype=float)
    columns["adjustment"] = np.ones(len(rows))
    return bars_table(symbol, closes[first], columns)
