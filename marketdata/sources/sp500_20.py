"""Twenty large US stocks, daily adjusted closes, from the data file in skfolio.

The file is read from the installed package; skfolio is not imported. It starts in 1990, but prices before
2000 are rounded to so few digits that their returns are noise, so they are left out.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from alphaloop.bars import BarPanel, with_calendar
from alphaloop.errors import DataError
from marketdata.calendars import closes_of
from marketdata.files.package_file import package_file
from marketdata.source import CalendarName, close_only_panel, require_frequency, require_symbols, select_bars

PACKAGE = "skfolio"
FILE = "datasets/data/sp500_dataset.csv.gz"
DATE = "Date"
FIRST_DAY = "2000-01-01"


class Sp500Twenty:
    """Source `sp500-20`: closes only, adjusted with knowledge of 2022."""

    name = "sp500-20"
    description = "20 large US stocks, daily adjusted closes 2000-2022 (data file of skfolio, BSD-3)"
    calendar: CalendarName = "XNYS"
    adjusted_only = True

    def symbols(self) -> tuple[str, ...]:
        """Return the 20 symbols, sorted."""
        return _symbols(str(_locate()))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return daily bars; open, high, low and volume are null."""
        require_frequency(self, frequency)
        selected = require_symbols(self, symbols)
        return select_bars(_table(str(_locate())), selected, start, end)


SOURCE = Sp500Twenty()


def _locate() -> Path:
    return package_file(SOURCE.name, PACKAGE, FILE)


@cache
def _symbols(path: str) -> tuple[str, ...]:
    # The header is enough; assigning session closes to all rows takes seconds.
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = lines.readline().strip().split(",")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error
    return tuple(sorted(name for name in head if name != DATE))


@cache
def _table(path: str) -> pa.Table:
    return with_calendar(_read(path).to_table(), SOURCE.calendar)


@cache
def _read(path: str) -> BarPanel:
    from pyarrow import csv

    try:
        raw = csv.read_csv(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise _unreadable(path, error) from error
    days = raw[DATE].to_numpy().astype("datetime64[D]")
    recent = days >= np.datetime64(FIRST_DAY)
    names = _symbols(path)
    close = np.column_stack([raw[name].to_numpy() for name in names]).astype(np.float64)[recent]
    return close_only_panel(closes_of(days[recent].tolist()), names, close)


def _unreadable(path: str, error: Exception) -> DataError:
    return DataError(f"{path} cannot be read as CSV: {error}; reinstall {PACKAGE}")
