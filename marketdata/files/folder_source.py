"""A folder of bars, local or in a bucket; only the requested part is read.

Files are CSV or Parquet, flat or in Hive partitions (`symbol=AAPL/year=2020/part-0.parquet`). A partition
that cannot hold requested bars is not opened; of a Parquet file that may hold them the footer is read, then
the columns needed of the row groups in question. A file without a symbol column, and in no partition that
names one, is named after its only symbol (`AAPL.csv`, `BRK.B.csv`). A bar in two files counts once, if they
agree.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import PurePosixPath
from urllib.parse import unquote, urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import to_datetime64
from alphaloop.errors import DataError, UnknownNameError
from marketdata.calendars import require_calendar
from marketdata.files.bar_columns import ALIASES, BarColumns
from marketdata.files.bar_file import STAMP_MARGIN, SUFFIXES, BarFile
from marketdata.files.forward_factor import forward_factor
from marketdata.files.location import FileStorage
from marketdata.files.object_store import SCHEME
from marketdata.files.one_series import merge_tables
from marketdata.source import CalendarName, require_frequency

# Default options of a folder; every other option is empty.
DEFAULT_OPTIONS = {"calendar": "XNYS", "frequency": "1d", "adjusted_only": "false"}
DEFAULT_OPTIONS |= {"skip_lines": "0", "header_lines": "1"}
# A period long enough to show the step between bars of any length.
STEP_SAMPLE = timedelta(days=400)
# Maximum number of ignored files named in a message.
MAX_FILES_SHOWN = 8
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FolderSource:
    """A folder as a source, named `folder:` and the address.

    `columns` are the rules for reading files, `calendar` that of the market, `bars` the bars' frequency;
    `stated_frequency` is the frequency if the user stated it, so that the bars are checked against it.
    """

    storage: FileStorage
    columns: BarColumns
    calendar: CalendarName = "XNYS"
    bars: str = "1d"
    adjusted_only: bool = False
    stated_frequency: str = ""

    def __post_init__(self) -> None:
        require_calendar(self.calendar)

    @property
    def name(self) -> str:
        """`folder:` and the address as given."""
        return f"folder:{self.storage.label}"

    @property
    def identity(self) -> str:
        """The absolute address, and every option that differs from its default."""
        address = f"{SCHEME}{self.storage.root}" if self.storage.remote else self.storage.root
        values = self.columns.options() | {"calendar": self.calendar, "frequency": self.bars}
        values |= {"adjusted_only": str(self.adjusted_only).lower(), "endpoint": self.storage.endpoint}
        options = {
            name: value for name, value in sorted(values.items()) if value != DEFAULT_OPTIONS.get(name, "")
        }
        return f"folder:{address}" + (f"?{urlencode(options, safe='/,:')}" if options else "")

    @property
    def description(self) -> str:
        """One line with the address."""
        return f"bars of the files in {self.storage.label}"

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol in the folder, sorted.

        Where no partition names the symbol, the symbol column of each file is read.
        """
        listed: set[str] = set()
        for part in self._parts():
            listed |= {part.symbol} if part.symbol else self._file(part).symbols()
        if not listed:
            raise DataError(f"{self.storage.label}: there are no rows in its files")
        return tuple(sorted(listed))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "",
    ) -> pa.Table:
        """Return the requested rows of all files, sorted by timestamp and symbol, unchecked.

        An adjustment derived from an adjusted close begins at 1 with each symbol's first row of the answer.
        `UnknownNameError` for a symbol that is not in the folder.
        """
        require_frequency(self, frequency or self.bars, (self.bars,))
        selected, margin = tuple(symbols) or None, self._margin
        parts = [part for part in self._parts() if part.may_hold(selected, start, end, margin)]
        files = [self._file(part) for part in parts]
        tables = [self.columns.empty(), *(file.read(selected, start, end) for file in files)]
        for part, rows in zip(parts, tables[1:], strict=True):
            part.require_days(rows, margin)
        table = merge_tables(tables, ["", *(part.label for part in parts)])
        self._require(selected, table)
        return rebase_adjustment(table) if any(file.relative for file in files) else table

    def _require(self, selected: tuple[str, ...] | None, table: pa.Table) -> None:
        absent = set(selected or ()) - set(pc.unique(table["symbol"]).to_pylist())
        # The whole folder is searched for symbols only if a requested one has no rows.
        known = self.symbols() if absent else ()
        for symbol in sorted(absent.difference(known)):
            raise UnknownNameError("symbol", symbol, known, where=f"source '{self.name}'")

    def _parts(self) -> list[FolderFile]:
        """Return the files of bars; listed anew each time, since others add to a folder."""
        storage, bars, left_out = self.storage, dict[str, str](), list[str]()
        for path in storage.every_file():
            relative = path.removeprefix(storage.root).lstrip("/")
            of_bars, hidden = path.lower().endswith(SUFFIXES), storage.is_hidden(path)
            if of_bars and not hidden:
                bars[path] = relative
            elif of_bars or not hidden:
                left_out.append(relative or path)
        if not bars:
            has = f"; it has: {_listed(left_out)}" if left_out else ""
            raise DataError(
                f"{storage.label}: there is no file here that ends in {' or '.join(SUFFIXES)}{has}"
            )
        # A description beside the bars is no data that somebody misses.
        _log_left_out(storage.label, tuple(name for name in left_out if not is_description(name)))
        return [_part(path, relative, storage.label) for path, relative in bars.items()]

    def _file(self, part: FolderFile) -> BarFile:
        return BarFile(
            *(self.storage, part.path, part.label, self.columns, part.symbol),
            titled=True,
            margin=stamp_margin(self.bars),
        )

    @property
    def _margin(self) -> timedelta:
        """Maximum distance between the day that a file or partition names and a bar's close."""
        return STAMP_MARGIN + longest_bar(self.bars)


@dataclass(frozen=True)
class FolderFile:
    """A file in a folder, with its partition's symbol, first day and the day after the last."""

    path: str
    label: str
    symbol: str = ""
    first: date | None = None
    after: date | None = None

    def may_hold(
        self,
        symbols: Sequence[str] | None,
        start: datetime | None,
        end: datetime | None,
        margin: timedelta = STAMP_MARGIN,
    ) -> bool:
        """Return True if the file can hold bars of these symbols and times.

        The days of its partition may be off by `margin`.
        """
        if symbols is not None and self.symbol and self.symbol not in symbols:
            return False
        if start is not None and self.after is not None and self._at(self.after) + margin < start:
            return False
        return not (end is not None and self.first is not None and self._at(self.first) - margin > end)

    def require_days(self, table: pa.Table, margin: timedelta = STAMP_MARGIN) -> None:
        """Raise `DataError` where the file holds bars of other days than its partition names.

        Such bars would be missed whenever days are requested.
        """
        if self.first is None or self.after is None or not table.num_rows:
            return
        times = table["timestamp"].to_numpy()
        first, after = self._at(self.first) - margin, self._at(self.after) + margin
        strange = times[(times < to_datetime64(first)) | (times > to_datetime64(after))]
        if len(strange):
            raise DataError(
                f"{self.label}: it holds a bar of {strange[0].astype('datetime64[D]')}, and its partition is "
                f"of {self.first} to {self.after - timedelta(days=1)}; move the bar, or give the folder a "
                "key that is none of year, month, day and date"
            )

    @staticmethod
    def _at(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)


def stamp_margin(frequency: str) -> timedelta:
    """Return the margin of extra rows read to determine the meaning of stamps.

    Only the steps between bars show whether daily bars are in fact weekly or monthly.
    """
    steps = STEP_SAMPLE if frequency[-1] in "dwM" else timedelta()
    return STAMP_MARGIN + longest_bar(frequency) + steps


def longest_bar(frequency: str) -> timedelta:
    """Return the longest time between a bar's first day and its close.

    Sessions may lie days apart.
    """
    count, unit = int(frequency[:-1]), frequency[-1]
    lengths = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=2)}
    lengths |= {"w": timedelta(days=7), "M": timedelta(days=31)}
    return count * lengths[unit]


def rebase_adjustment(table: pa.Table) -> pa.Table:
    """Return the adjustment of each symbol relative to its first row in time: see `forward_factor`."""
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    order = np.lexsort((table["timestamp"].to_numpy(), symbols.astype(str)))
    factor = np.empty(len(order))
    factor[order] = forward_factor(symbols[order], table["adjustment"].to_numpy()[order])
    index = table.schema.get_field_index("adjustment")
    return table.set_column(index, table.schema.field(index), pa.array(factor, from_pandas=True))


def is_description(path: str) -> bool:
    """Return True for a README, which folders of data often have.

    Examples
    --------
    >>> is_description("daily/README.md"), is_description("readings.txt")
    (True, False)
    """
    return PurePosixPath(path).stem.lower() == "readme"


@cache
def _log_left_out(label: str, files: tuple[str, ...]) -> None:
    """Log files that are not read, once for each listing."""
    if files:
        log.warning(
            "%s: left out, as a file of bars ends in %s and has no dot or underscore at the beginning of its "
            "name or its folder's: %s",
            label,
            " or ".join(SUFFIXES),
            _listed(files),
        )


def _listed(files: Sequence[str]) -> str:
    more = f" and {len(files) - MAX_FILES_SHOWN} more" if len(files) > MAX_FILES_SHOWN else ""
    return ", ".join(files[:MAX_FILES_SHOWN]) + more


def _part(path: str, relative: str, address: str) -> FolderFile:
    label = f"{address.rstrip('/')}/{relative}" if relative else address
    keys: dict[str, str] = {}
    for segment in relative.split("/")[:-1]:
        key, sign, value = segment.partition("=")
        if sign:
            keys[key.strip().lower()] = unquote(value)
    symbol = next((keys[name] for name in ALIASES["symbol"] if name in keys), "")
    try:
        first, after = _days(keys)
    except (ValueError, OverflowError) as error:
        raise DataError(
            f"{label}: its partition is no date ({error}); write year=2020/month=1/day=31"
        ) from error
    return FolderFile(path, label, symbol, first, after)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"'{text}' is no whole number")
    return int(text)


def _days(keys: Mapping[str, str]) -> tuple[date | None, date | None]:
    if "date" in keys:
        day = date.fromisoformat(keys["date"])
        return day, day + timedelta(days=1)
    if "year" not in keys:
        return None, None
    year = _whole(keys["year"])
    if "month" not in keys:
        return date(year, 1, 1), date(year + 1, 1, 1)
    month = _whole(keys["month"])
    if "day" in keys:
        day = date(year, month, _whole(keys["day"]))
        return day, day + timedelta(days=1)
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
