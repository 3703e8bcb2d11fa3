"""Bars from a file of the user's own: CSV or Parquet, with the columns of `BARS_SCHEMA`.

Columns `symbol`, `timestamp` and `close` must be there (or what `bar_columns` takes for them);
open, high, low and volume may be missing and are null then, and so may `adjustment`, which is 1 then. A
timestamp is the bar's close with its time zone; a bare date stands for the close of that day's session.
Rows keep the order they have in the file, so that `marketdata.quality.checks` sees it.
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
from marketdata.files.folder_source import USUAL, rebased, row_margin
from marketdata.files.location import Storage
from marketdata.source import CalendarName, require_frequency, require_symbols

__all__ = ["SUFFIXES", "FileSource"]


@dataclass(frozen=True)
class FileSource:
    """A file as a source; its name is `file:` and the path. `DataError` names file, column and row.

    `timezone` is that of times without one, which are refused while it is empty; `stamp` says what a time
    means, where that is not plain: see `marketdata.files.bar_stamps`.
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
        """The absolute path, and every option that is not the usual one."""
        told = {"calendar": self.calendar, "frequency": self.frequency, "timezone": self.timezone}
        told |= {"adjusted_only": str(self.adjusted_only).lower()}
        options = {name: value for name, value in sorted(told.items()) if value != USUAL.get(name, "")}
        place = f"file:{self.path.absolute()}"
        return place + (f"?{urlencode(options, safe='/,:')}" if options else "")

    @property
    def description(self) -> str:
        """One line: which file it is."""
        return f"bars of the file {self.path}"

    def symbols(self) -> tuple[str, ...]:
        """Every symbol in the file, sorted; `DataError` for a file without rows."""
        found = tuple(sorted(self._file().symbols()))
        if not found:
            raise DataError(f"{self.path}: there are no rows; a file of bars has at least one")
        return found

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "",
    ) -> pa.Table:
        """The rows of the file, in its order, unchecked: see `marketdata.quality.checks`."""
        require_frequency(self, frequency or self.frequency, (self.frequency,))
        file = self._file()
        wanted = require_symbols(self, symbols) if symbols else None
        table = file.read(wanted, start, end)
        return rebased(table) if file.relative else table

    def _file(self) -> BarFile:
        path = str(self.path)
        storage = Storage(path)
        columns = BarColumns(self.calendar, self.timezone, stamp=self.stamp, frequency=self.frequency)
        return BarFile(storage, storage.root, path, columns, margin=row_margin(self.frequency))
