"""Bars from a file of the user's own: CSV or Parquet, with the columns of `BARS_SCHEMA`.

Columns `symbol`, `timestamp` and `close` must be there; open, high, low and volume may be missing and
are null then, and so may `adjustment`, which is 1 then. A timestamp is the bar's close with its time
zone; a bare date stands for the close of that day's session. Rows keep the order they have in the
file, so that `features.quality` sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from csv import reader
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from alphaloop.market import BARS_SCHEMA
from features.calendars import closes_of, require_calendar
from features.source import CalendarName, require_frequency, require_symbols, select

REQUIRED = ("symbol", "timestamp", "close")
SUFFIXES = (".csv", ".parquet")
EXAMPLE = "2019-01-02T21:00:00Z, or the date alone for the session's close"


@dataclass(frozen=True)
class FileSource:
    """A file as a source; its name is `file:` and the path. `DataError` names file, column and row."""

    path: Path
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = False

    def __post_init__(self) -> None:
        require_calendar(self.calendar)

    @property
    def name(self) -> str:
        """`file:` and the path as given."""
        return f"file:{self.path}"

    @property
    def description(self) -> str:
        """One line: which file it is."""
        return f"bars of the file {self.path}"

    def symbols(self) -> tuple[str, ...]:
        """Every symbol in the file, sorted."""
        return tuple(sorted(set(self._table["symbol"].to_pylist())))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """The rows of the file, in its order, unchecked: see `features.quality`."""
        require_frequency(self, frequency)
        wanted = require_symbols(self, symbols)
        return select(self._table, wanted, start, end)

    @cached_property
    def _table(self) -> pa.Table:
        raw = _read(Path(self.path))
        raw = raw.rename_columns([name.strip().lower() for name in raw.column_names])
        for column in REQUIRED:
            if column not in raw.column_names:
                has = ", ".join(raw.column_names)
                raise DataError(f"{self.path}: column '{column}' is missing; it has: {has}")
        columns: dict[str, pa.Array] = {
            "symbol": self._symbols(raw["symbol"]),
            "timestamp": self._timestamps(raw["timestamp"]),
        }
        for field in list(BARS_SCHEMA)[2:]:
            if field.name in raw.column_names:
                columns[field.name] = self._numbers(field.name, raw[field.name])
            else:
                default = 1.0 if field.name == "adjustment" else None
                columns[field.name] = pa.array([default] * len(raw), pa.float64())
        return pa.table(columns, schema=BARS_SCHEMA)

    def _symbols(self, column: pa.ChunkedArray) -> pa.Array:
        texts = column.cast(pa.string()).to_pylist()
        for row, text in enumerate(texts):
            if not text:
                raise self._wrong("symbol", row, text, "every row names its symbol")
        return pa.array(texts, pa.string())

    def _numbers(self, name: str, column: pa.ChunkedArray) -> pa.Array:
        if not pa.types.is_string(column.type):
            try:
                return column.cast(pa.float64()).combine_chunks()
            except pa.ArrowInvalid as error:
                raise DataError(f"{self.path}: column '{name}' holds no numbers ({_line(error)})") from error
        values: list[float | None] = []
        for row, text in enumerate(column.to_pylist()):
            try:
                values.append(float(text) if text else None)
            except ValueError as error:
                raise self._wrong(name, row, text, "it must be a number, or empty if unknown") from error
        return pa.array(values, pa.float64())

    def _timestamps(self, column: pa.ChunkedArray) -> pa.Array:
        kind = BARS_SCHEMA.field("timestamp").type
        if pa.types.is_timestamp(column.type) and column.type.tz and not column.null_count:
            return column.cast(kind).combine_chunks()
        cells = column.to_pylist()
        moments = {cell: self._moment(row, cell) for row, cell in reversed(list(enumerate(cells)))}
        days = [moment for moment in moments.values() if not isinstance(moment, datetime)]
        closes = dict(zip(days, closes_of(days, self.calendar), strict=True))
        stamps = {
            cell: np.datetime64(moment.replace(tzinfo=None), "ns")
            if isinstance(moment, datetime)
            else closes[moment]
            for cell, moment in moments.items()
        }
        return pa.array(np.array([stamps[cell] for cell in cells], dtype="datetime64[ns]")).cast(kind)

    def _moment(self, row: int, cell: object) -> datetime | date:
        """The moment in UTC, or a day where no time is given."""
        try:
            if isinstance(cell, str):
                text = cell.strip()
                return date.fromisoformat(text) if len(text) <= 10 else as_utc(datetime.fromisoformat(text))
            if isinstance(cell, datetime):
                return as_utc(cell)
        except ValueError as error:
            raise self._wrong("timestamp", row, cell, f"write {EXAMPLE}") from error
        if isinstance(cell, date):
            return cell
        raise self._wrong("timestamp", row, cell, f"write {EXAMPLE}")

    def _wrong(self, column: str, row: int, value: object, way_out: str) -> DataError:
        return DataError(f"{self.path}: column '{column}', row {row + 1} is {value!r}; {way_out}")


def _read(path: Path) -> pa.Table:
    from pyarrow import csv, parquet

    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: a data file ends in {' or '.join(SUFFIXES)}")
    try:
        if path.suffix.lower() == ".parquet":
            return parquet.ParquetFile(path).read()
        with path.open(encoding="utf-8-sig") as handle:
            names = next(reader(handle), [])
        # Everything as text: a cell that is no number is then named by its row.
        options = csv.ConvertOptions(column_types={name: pa.string() for name in names})
        return csv.read_csv(path, convert_options=options)
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: it cannot be read as {path.suffix[1:]} ({_line(error)})") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
