"""EURUSD, hourly, 2017, from the data file in gym-anytrading.

The file is read from the installed package; gym-anytrading is not imported. Its content, checked row by row:

- 6,225 ask-side bars, sorted, no duplicates; every high and low contains open and close.
- Its `Time` is the bar's *opening*, in UTC: each week begins with the row of Sunday 17:00 in New York,
  through both changes of daylight saving time, and ends with that of Friday 16:00. An hour is added here,
  so that `timestamp` is the close.
- Two gaps: one hour on Christmas Eve, fourteen on Christmas Day.
- `Volume` is the broker's own, not the market's.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BARS_SCHEMA, with_calendar
from alphaloop.errors import DataError
from marketdata.calendars import FOREX
from marketdata.files.package_file import package_file
from marketdata.source import CalendarName, require_frequency, require_symbols, select_bars

PACKAGE = "gym_anytrading"
FILE = "datasets/data/FOREX_EURUSD_1H_ASK.csv"
SYMBOL = "EURUSD"
LENGTH = np.timedelta64(1, "h")
TIME_FORMAT = "%d.%m.%Y %H:%M:%S"


class EurUsdHourly:
    """Source `eurusd-1h`: ask prices as traded, in US dollars for one euro."""

    name = "eurusd-1h"
    description = "EURUSD, hourly ask-side bars 2017 (data file of gym-anytrading, MIT)"
    calendar: CalendarName = FOREX
    adjusted_only = False

    def symbols(self) -> tuple[str, ...]:
        """Return EURUSD."""
        return (SYMBOL,)

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1h",
    ) -> pa.Table:
        """Return hourly bars."""
        require_frequency(self, frequency, ("1h",))
        selected = require_symbols(self, symbols)
        return select_bars(_table(str(_locate())), selected, start, end)


SOURCE = EurUsdHourly()


def _locate() -> Path:
    return package_file(SOURCE.name, PACKAGE, FILE)


@cache
def _table(path: str) -> pa.Table:
    from pyarrow import csv

    options = csv.ConvertOptions(column_types={"Time": pa.string()})
    try:
        raw = csv.read_csv(path, convert_options=options)
        texts = pc.utf8_slice_codeunits(raw["Time"], 0, len("01.01.2017 22:00:00"))
        opened = pc.strptime(texts, format=TIME_FORMAT, unit="s").to_numpy()
        prices = {name.lower(): raw[name] for name in ("Open", "High", "Low", "Close", "Volume")}
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}; reinstall gym-anytrading") from error
    closed = (opened + LENGTH).astype("datetime64[ns]")
    columns = {
        "symbol": pa.array([SYMBOL] * len(raw)),
        "timestamp": pa.array(closed).cast(BARS_SCHEMA.field("timestamp").type),
        **prices,
        "adjustment": pa.array(np.ones(len(raw))),
    }
    return with_calendar(pa.table(columns, schema=BARS_SCHEMA), SOURCE.calendar)
