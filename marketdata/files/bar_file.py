"""One file of bars, CSV or Parquet, of which only the requested part is read."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import CALENDAR_KEY
from alphaloop.errors import DataError
from marketdata.files.bar_columns import BarColumns
from marketdata.files.bar_stamps import CLOSE
from marketdata.files.location import FILE_ERRORS, FileStorage
from marketdata.source import select_bars

PARQUET = ".parquet"
SUFFIXES = (".csv", ".csv.gz", PARQUET)
# A file's own times may be local, and mark the beginning of a bar: rows are filtered with this margin (and
# the length of a bar) before they are read, and exactly afterwards.
STAMP_MARGIN = timedelta(days=2)
# Metadata keys of our own tables of bars and snapshots.
OWN_METADATA_KEYS = {CALENDAR_KEY, b"alphaloop.snapshot"}


@dataclass(frozen=True)
class BarFile:
    """The file at `path` of a storage; `name` identifies it in errors.

    `symbol` applies to all its rows where its folder states it; if `titled`, a file without a symbol column
    is named after its only symbol. `margin` is the maximum distance of a row's own time from its bar's close.
    """

    storage: FileStorage
    path: str
    name: str
    columns: BarColumns
    symbol: str = ""
    titled: bool = False
    margin: timedelta = STAMP_MARGIN

    def __post_init__(self) -> None:
        if not self.path.lower().endswith(SUFFIXES):
            raise DataError(f"{self.name}: a data file ends in {' or '.join(SUFFIXES)}")

    def symbols(self) -> set[str]:
        """Return the symbols in the file; of Parquet, only the symbol column is read."""
        if self._only_symbol:
            return {self._only_symbol}
        column = self._found["symbol"]
        texts = pc.unique(self._raw([column], None)[column].cast(pa.string())).to_pylist()
        return {text.strip() for text in texts if text}

    @property
    def relative(self) -> bool:
        """True if the adjustment is a ratio to a close adjusted with later knowledge."""
        return "adjusted_close" in self._found and "adjustment" not in self._found

    def read(
        self, symbols: Sequence[str] | None = None, start: datetime | None = None, end: datetime | None = None
    ) -> pa.Table:
        """Return the bars of `symbols` (None: all) with `start <= timestamp <= end`, in file order.

        Of Parquet only the columns and row groups needed are read; a CSV file is read whole. Raises
        `DataError` naming the file and the place, `VendorError` where the store failed.
        """
        if symbols is not None and self._only_symbol and self._only_symbol not in symbols:
            return self.columns.empty()
        condition = self._condition(symbols, start, end) if self._parquet else None
        raw = self._raw(list(dict.fromkeys(self._found.values())), condition)
        table = self._reading.convert(raw, self._found, self.name, self._only_symbol)
        return select_bars(
            table, pc.unique(table["symbol"]).to_pylist() if symbols is None else symbols, start, end
        )

    @property
    def _reading(self) -> BarColumns:
        """Rules for reading the columns: in our own tables, which name a calendar, stamps are closes."""
        ours = self._parquet and OWN_METADATA_KEYS.intersection(self._fragment[1].metadata or ())
        return replace(self.columns, stamp=CLOSE) if ours and not self.columns.stamp else self.columns

    @property
    def _parquet(self) -> bool:
        return self.path.lower().endswith(PARQUET)

    @property
    def _only_symbol(self) -> str:
        if self.symbol or "symbol" in self._found:
            return self.symbol
        return symbol_of_file_name(self.path)

    @cached_property
    def _found(self) -> Mapping[str, str]:
        names = self._fragment[1].names if self._parquet else self._header
        known = self.titled or self.symbol != ""
        column_of = self.columns.find(names, self.name, symbol_known=known)
        return {field: name for field, name in column_of.items() if field != "symbol" or not self.symbol}

    @cached_property
    def _fragment(self) -> tuple[Any, pa.Schema]:
        from pyarrow import dataset

        try:
            fragment = dataset.ParquetFileFormat().make_fragment(self.path, self.storage.filesystem)
            schema = fragment.physical_schema
            # Names are decoded here, so that damage in them is reported as an error of the file.
            fields = list(zip(schema.names, schema.types, strict=True))
            return fragment, pa.schema(fields, metadata=schema.metadata)
        except FILE_ERRORS as error:
            self._fail(error)

    @cached_property
    def _header(self) -> list[str]:
        try:
            with self.storage.filesystem.open_input_stream(self.path) as stream:
                line = _line(stream, self.columns.skip_lines)
            return next(csv.reader([line]), [])
        except (*FILE_ERRORS, csv.Error) as error:
            self._fail(error)

    def _raw(self, names: list[str], condition: Any) -> pa.Table:
        from pyarrow import csv as arrow_csv

        try:
            if self._parquet:
                return self._fragment[0].to_table(columns=names, filter=condition, use_threads=False)
            # Read everything as text, so that the error for an invalid number names its row.
            options = arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in names}, include_columns=names
            )
            lines = arrow_csv.ReadOptions(
                skip_rows=self.columns.skip_lines, skip_rows_after_names=self.columns.header_lines - 1
            )
            with self.storage.filesystem.open_input_stream(self.path) as stream:
                return arrow_csv.read_csv(stream, lines, convert_options=options)
        except FILE_ERRORS as error:
            self._fail(error)

    def _condition(self, symbols: Sequence[str] | None, start: datetime | None, end: datetime | None) -> Any:
        """Build a filter for Parquet's own statistics; None where they cannot decide."""
        schema, parts = self._fragment[1], []
        symbol = self._found.get("symbol")
        if symbols is not None and symbol and self._plain_symbols(symbol):
            parts.append(_or_null(symbol, pc.field(symbol).isin(list(symbols))))
        stamp = self._found["timestamp"]
        kind = schema.field(stamp).type
        if start is not None and (bound := _bound(start - self.margin, kind)) is not None:
            parts.append(_or_null(stamp, pc.field(stamp) >= bound))
        if end is not None and (bound := _bound(end + self.margin, kind)) is not None:
            parts.append(_or_null(stamp, pc.field(stamp) <= bound))
        if not parts:
            return None
        together = parts[0]
        for part in parts[1:]:
            together &= part
        return together

    def _plain_symbols(self, name: str) -> bool:
        """Return True where the column's statistics show text without surrounding blanks."""
        fragment, schema = self._fragment
        if not pa.types.is_string(schema.field(name).type):
            return False
        try:
            ends = [group.statistics.get(name, {}) for group in fragment.row_groups]
        except FILE_ERRORS as error:
            self._fail(error)
        texts = [text for statistics in ends for text in (statistics.get("min"), statistics.get("max"))]
        return all(isinstance(text, str) and text == text.strip() for text in texts)

    def _fail(self, error: Exception) -> NoReturn:
        self.storage.fail(self.name, f"read as {'parquet' if self._parquet else 'csv'}", error)


def symbol_of_file_name(path: str) -> str:
    """Return the name of a file without its ending: BRK.A of `BRK.A.csv`."""
    name = PurePosixPath(path).name
    ending = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(ending)].strip()


def _or_null(column: str, condition: Any) -> Any:
    """Extend `condition` by rows without a value.

    A missing value must be reported as an error, not dropped.
    """
    return condition | pc.field(column).is_null()


def _bound(moment: datetime, kind: pa.DataType) -> pa.Scalar | None:
    """Convert `moment` to the type of a time column; None where values do not sort by time.

    Text does not: 20190102 sorts after 2019-12-31, and blanks before both.
    """
    if pa.types.is_timestamp(kind):
        return pa.scalar(moment if kind.tz else moment.replace(tzinfo=None), kind)
    return pa.scalar(moment.date(), kind) if pa.types.is_date(kind) else None


def _line(stream: Any, number: int) -> str:
    """Return the line with this number, counted from 0; empty where there are fewer."""
    data = b""
    while data.count(b"\n") <= number and (more := stream.read(1 << 12)):
        data += more
    lines = data.removeprefix(codecs.BOM_UTF8).split(b"\n")
    return lines[number].decode("utf-8").rstrip("\r") if number < len(lines) else ""
