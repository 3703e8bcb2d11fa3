"""Map the columns of a user's file to those of `BARS_SCHEMA`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import BARS_SCHEMA, with_calendar
from alphaloop.errors import DataError, InputError
from marketdata.files.bar_stamps import StampRule
from marketdata.files.date_format import iso_texts, require_format
from marketdata.files.number_cells import parse_numbers
from marketdata.files.stamp_cells import StampCells

# Accepted names of a column besides its own; case, spaces and hyphens are ignored.
ALIASES = {
    "symbol": ("symbol", "ticker", "instrument"),
    "timestamp": ("timestamp", "date", "datetime", "time"),
    "volume": ("volume", "vol"),
    "adjusted_close": ("adjusted_close", "adj_close", "adjclose"),
}
FIELDS = (*BARS_SCHEMA.names, "adjusted_close")
# Maximum number of lines above a table.
MAX_LINES_ABOVE = 1_000
TIMESTAMP_TYPE = BARS_SCHEMA.field("timestamp").type


@dataclass(frozen=True)
class BarColumns:
    """Rules for reading a file's columns.

    `names` gives a field's column where no alias fits; `extra` are further numeric columns to keep.
    `timezone` applies to times without one, which are refused while it is empty. `date_format` is the format
    of times that are not in ISO 8601: see `marketdata.files.date_format`. Of a CSV file, the first
    `skip_lines` lines are not part of the table, and its column names are in the first of `header_lines`
    lines. `stamp` is the meaning of a time, and `frequency` the length of a bar, both empty where not stated:
    see `StampRule`.
    """

    calendar: str = "XNYS"
    timezone: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    extra: tuple[str, ...] = ()
    date_format: str = ""
    skip_lines: int = 0
    header_lines: int = 1
    stamp: str = ""
    frequency: str = ""

    def __post_init__(self) -> None:
        StampRule(self.calendar, self.stamp)
        for name in self.names:
            if name not in FIELDS:
                raise InputError(f"'{name}' is no column of bars; there are: {', '.join(FIELDS)}")
        if self.timezone:
            try:
                ZoneInfo(self.timezone)
            except (ValueError, OSError, KeyError) as error:
                raise InputError(f"there is no time zone '{self.timezone}'; write Europe/London") from error

        if self.date_format:
            require_format(self.date_format)
        for name, value, least in (
            ("skip_lines", self.skip_lines, 0),
            ("header_lines", self.header_lines, 1),
        ):
            if not least <= value <= MAX_LINES_ABOVE:
                raise InputError(f"{name} is {value}; it must be from {least} to {MAX_LINES_ABOVE}")

    def options(self) -> dict[str, str]:
        """Return every field as an option of a folder, by name; empty where not set."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        names = values.pop("names")
        texts = {
            name: ",".join(value) if isinstance(value, tuple) else str(value)
            for name, value in values.items()
        }
        return texts | dict(names)

    def find(self, columns: Sequence[str], label: str, *, symbol_known: bool) -> dict[str, str]:
        """Return the column of each field among `columns`; a missing field is left out.

        `DataError` for a missing required field (timestamp, close, and symbol unless it is known otherwise),
        and where two columns could be the same field.
        """
        plain = [_plain(name) for name in columns]
        matches: dict[str, str] = {}
        for target in (*FIELDS, *self.extra):
            options = [_plain(self.names[target])] if target in self.names else [target]
            if target not in self.names and target not in plain:
                options = list(ALIASES.get(target, (target,)))
            # Names of extra columns come from the user and are compared in plain form.
            options = [_plain(option) for option in options]
            matching = [name for name, simple in zip(columns, plain, strict=True) if simple in options]
            if len(matching) > 1:
                both = " and ".join(f"'{name}'" for name in matching[:2])
                raise DataError(f"{label}: columns {both} could both be the {target}; keep or name one")
            if matching:
                matches[target] = matching[0]
        required = ["timestamp", "close", *self.extra, *self.names, *([] if symbol_known else ["symbol"])]
        for target in required:
            if target not in matches:
                has = ", ".join(name if name.isprintable() else repr(name) for name in columns) or "none"
                raise DataError(
                    f"{label}: column '{target}' is missing; it has: {has}; name it, as {target}=NAME, or "
                    "say how many lines stand above the header, as skip_lines=1"
                )
        return matches

    def empty(self) -> pa.Table:
        """Return a table of bars without rows."""
        further = [pa.field(name, pa.float64()) for name in self.extra]
        return with_calendar(pa.schema([*BARS_SCHEMA, *further]).empty_table(), self.calendar)

    def convert(self, raw: pa.Table, names: Mapping[str, str], label: str, symbol: str = "") -> pa.Table:
        """Convert `raw` to a table of bars; `symbol` applies to every row without a symbol column.

        With an adjusted close and no adjustment, the adjustment is the ratio of the two closes: see
        `marketdata.files.folder_source.rebase_adjustment`. `DataError` names column and row.
        """
        cells = _Cells(label)
        symbols = (
            cells.symbols(raw[names["symbol"]])
            if "symbol" in names
            else pa.array([symbol] * len(raw), pa.string())
        )
        own = all(names.get(name) == name for name in BARS_SCHEMA.names if name != "symbol")
        rule = StampRule(self.calendar, self.stamp, self.frequency, own)
        dated = self._dated(raw[names["timestamp"]], label)
        stamps = StampCells(label, rule, self.timezone).stamps(dated)
        closes = rule.closes(stamps, symbols.to_numpy(zero_copy_only=False), label)
        columns: dict[str, pa.Array] = {"symbol": symbols, "timestamp": pa.array(closes).cast(TIMESTAMP_TYPE)}
        for name in BARS_SCHEMA.names[2:]:
            if name in names:
                columns[name] = cells.numbers(name, raw[names[name]])
            else:
                default = 1.0 if name == "adjustment" else None
                columns[name] = pa.array([default] * len(raw), pa.float64())
        if "adjustment" not in names and "adjusted_close" in names:
            adjusted = cells.numbers("adjusted_close", raw[names["adjusted_close"]])
            columns["adjustment"] = pc.divide(adjusted, columns["close"])
        table = pa.table(columns, schema=BARS_SCHEMA)
        for name in self.extra:
            table = table.append_column(name, cells.numbers(name, raw[names[name]]))
        return with_calendar(table, self.calendar)

    def _dated(self, column: pa.ChunkedArray, label: str) -> pa.ChunkedArray:
        return iso_texts(column, self.date_format, label) if self.date_format else column


@dataclass(frozen=True)
class _Cells:
    """Parsers of cells, with errors that name the file."""

    label: str

    def symbols(self, column: pa.ChunkedArray) -> pa.Array:
        try:
            texts = pc.utf8_trim_whitespace(column.cast(pa.string())).combine_chunks()
        except pa.ArrowException as error:
            raise DataError(f"{self.label}: column 'symbol' holds no texts ({_line(error)})") from error
        for row, text in enumerate(texts.to_pylist()):
            if not text:
                raise self.wrong("symbol", row, text, "every row names its symbol")
        return texts

    def numbers(self, name: str, column: pa.ChunkedArray) -> pa.Array:
        return parse_numbers(column, name, self.label)

    def wrong(self, column: str, row: int, value: object, way_out: str) -> DataError:
        return DataError(f"{self.label}: column '{column}', row {row + 1} is {value!r}; {way_out}")


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
