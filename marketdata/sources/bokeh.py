"""Five US technology stocks, daily, from the data file in bokeh-sampledata.

The file is read from the installed package; bokeh-sampledata is not imported. Its content, checked row by
row:

- AAPL, IBM and MSFT from March 2000, GOOG from August 2004, FB from May 2012, all to 1 March 2013; sorted
  by symbol and day, no duplicates, a bar for every session of the exchange and no other; every high and
  low contains open and close.
- Open, high, low, close and volume as traded: AAPL halves on 21 June 2000 and 28 February 2005, MSFT on
  18 February 2003. GOOG is the share later called GOOGL.
- `Adj Close` is the close back-adjusted with everything that happened until the file was made, splits
  after 2013 included. Its level therefore knows the future, but its ratio to the close changes only on
  the days of dividends and splits. `adjustment` is that ratio relative to the symbol's first bar, so it
  begins at 1 and no later action changes an earlier value; only its ratios between bars mean anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, with_calendar
from alphaloop.errors import DataError
from marketdata.calendars import closes_of
from marketdata.files.forward_factor import forward_factor
from marketdata.files.package_file import package_file
from marketdata.source import CalendarName, require_frequency, require_symbols, select_bars

PACKAGE = "bokeh_sampledata"
FILE = "_data/stocks.csv.gz"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


class UsTechOhlcv:
    """Source `us-tech-ohlcv`: prices and volumes as traded, with a forward adjustment."""

    name = "us-tech-ohlcv"
    description = "5 US technology stocks, daily OHLCV 2000-2013 (data file of bokeh-sampledata, BSD-3)"
    calendar: CalendarName = "XNYS"
    adjusted_only = False

    def symbols(self) -> tuple[str, ...]:
        """Return the five symbols, sorted."""
        return SYMBOLS

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return daily bars."""
        require_frequency(self, frequency)
        selected = require_symbols(self, symbols)
        return select_bars(_table(str(_locate())), selected, start, end)


SOURCE = UsTechOhlcv()


def _locate() -> Path:
    return package_file(SOURCE.name, PACKAGE, FILE)


@cache
def _table(path: str) -> pa.Table:
    from pyarrow import csv

    try:
        raw = csv.read_csv(path)
        raw = raw.sort_by([("Ticker", "ascending"), ("Date", "ascending")])
        days = raw["Date"].cast(pa.date32())
        ratio = raw["Adj Close"].to_numpy() / raw["Close"].to_numpy()
        columns = {name.lower(): raw[name] for name in ("Open", "High", "Low", "Close", "Volume")}
        symbols = raw["Ticker"].cast(pa.string())
    except (pa.ArrowInvalid, KeyError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}; reinstall bokeh-sampledata") from error
    closes = closes_of(days.to_pylist())
    table = pa.table(
        {
            "symbol": symbols,
            "timestamp": pa.array(closes).cast(BARS_SCHEMA.field("timestamp").type),
            **{name: column.cast(pa.float64()) for name, column in columns.items()},
            "adjustment": pa.array(forward_factor(symbols.to_numpy(zero_copy_only=False), ratio)),
        },
        schema=BARS_SCHEMA,
    )
    table = table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")]).combine_chunks()
    return with_calendar(table, SOURCE.calendar)
