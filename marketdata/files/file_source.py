"""Bars from a user's file: CSV or Parquet, with the columns of `BARS_SCHEMA`.

Columns `symbol`, `timestamp` and `close` are required (or their aliases in `bar_columns`); open, high, low
and volume are null if missing, and a missing `adjustment` is 1. A timestamp is the bar's close with its
time zone; a bare date means the close of that day's session. Rows keep the order of the file, so that
`marketdata.quality.checks` sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlencode

import pyarrow as pa

from alphaloop.errors import DataError
from marketdata.calendars import require_calendar
from marketdata.files.bar_columns import BarColumns
from marketdata.files.bar_file import SUFFIXES, BarFile
from marketdata.files.folder_source import DEFAULT_OPTIONS, rebase_adjustment, stamp_margin
from marketdata.files.location import FileStorage
from marketdata.source import CalendarName, require_frequency, require_symbols

__all__ = ["SUFFIXES", "FileSource"]


@dataclass(frozen=True)
class FileSource:
    """A file as a source, named `file:` and the path. `DataError` names file, column and row.

    `timezone` applies to times without one, which are refused while it is empty; `stamp` is the meaning of a
    time where it is ambiguous: see `marketdata.files.bar_stamps`.
    """

    path: Path
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = False
    timezone: str = ""
    frequency: str = "1d"
    stamp: str = ""

    def __post_init__(self) -> None:
        require_calendar(self.calendar)

    @property
    def name(self) -> str:
        """`file:` and the path as given."""
        return f"file:{self.path}"

    @property
    def identity(self) -> str:
        """The absolute path, and every option that differs from its default."""
        values = {"calendar": self.calendar, "frequency": self.frequency, "timezone": self.timezone}
        values |= {"adjusted_only": str(self.adjusted_only).lower()}
        options = {
            name: value for name, value in sorted(values.items()) if value != DEFAULT_OPTIONS.get(name, "")
        }
        address = f"file:{self.path.absolute()}"
        return address + (f"?{urlencode(options, safe='/,:')}" if options else "")

    @property
    def description(self) -> str:
        """One line with the path."""
        return f"bars of the file {self.path}"

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol in the file, sorted; `DataError` for a file without rows."""
        listed = tuple(sorted(self._file().symbols()))
        if not listed:
            raise DataError(f"{self.path}: there are no rows; a file of bars has at least one")
        return listed

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "",
    ) -> pa.Table:
        """Return the rows of the file, in its order, unchecked: see `marketdata.quality.checks`."""
        require_frequency(self, frequency or self.frequency, (self.frequency,))
        file = self._file()
        selected = require_symbols(self, symbols) if symbols else None
        table = file.read(selected, start, end)
        return rebase_adjustment(table) if file.relative else table

    def _file(self) -> BarFile:
        path = str(self.path)
        storage = FileStorage(path)
        columns = BarColumns(self.calendar, self.timezone, stamp=self.stamp, frequency=self.frequency)
        return BarFile(storage, storage.root, path, columns, margin=stamp_margin(self.frequency))
