"""A folder of bars, on this machine or in a bucket, of which only what is asked for is read.

Files are CSV or Parquet, flat or partitioned as Hive does (`symbol=AAPL/year=2020/part-0.parquet`). A
partition that cannot hold what is asked for is not opened; of a Parquet file that may hold it the footer
is read, then the columns needed of the row groups in question. A file without a column of symbols, and
in no partition that names one, is called after its only symbol (`AAPL.csv`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.errors import DataError, UnknownNameError
from features.calendars import require_calendar
from features.source import CalendarName, require_frequency
from features.storage.bar_columns import ALIASES, BarColumns
from features.storage.bar_file import SUFFIXES, BarFile
from features.storage.forward_factor import forward_factor
from features.storage.location import Storage

# A partition's day may be a local one.
MARGIN = timedelta(days=2)


@dataclass(frozen=True)
class FolderSource:
    """A folder as a source; its name is `folder:` and the address.

    `columns` says how files are read, `calendar` when the market is open, `bars` their frequency.
    """

    storage: Storage
    columns: BarColumns
    calendar: CalendarName = "XNYS"
    bars: str = "1d"
    adjusted_only: bool = False

    def __post_init__(self) -> None:
        require_calendar(self.calendar)

    @property
    def name(self) -> str:
        """`folder:` and the address as given."""
        return f"folder:{self.storage.label}"

    @property
    def description(self) -> str:
        """One line: which folder it is."""
        return f"bars of the files in {self.storage.label}"

    def symbols(self) -> tuple[str, ...]:
        """Every symbol in the folder, sorted; where no partition says so, one column of each file is read."""
        found: set[str] = set()
        for part in self._parts():
            found |= {part.symbol} if part.symbol else self._file(part).symbols()
        if not found:
            raise DataError(f"{self.storage.label}: there are no rows in its files")
        return tuple(sorted(found))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "",
    ) -> pa.Table:
        """The rows in question of all files, sorted by timestamp and symbol, unchecked.

        An adjustment that comes from an adjusted close begins at 1 with each symbol's first row of the
        answer. `UnknownNameError` for a symbol that is nowhere in the folder.
        """
        require_frequency(self, frequency or self.bars, (self.bars,))
        wanted = tuple(symbols) or None
        files = [self._file(part) for part in self._parts() if part.may_hold(wanted, start, end)]
        tables = [file.read(wanted, start, end) for file in files]
        table = pa.concat_tables([self.columns.empty(), *tables]).combine_chunks()
        self._require(wanted, table)
        if any(file.relative for file in files):
            table = rebased(table)
        return table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])

    def _require(self, wanted: tuple[str, ...] | None, table: pa.Table) -> None:
        absent = set(wanted or ()) - set(pc.unique(table["symbol"]).to_pylist())
        # Every symbol of the folder is only looked for where one asked for has no rows.
        known = self.symbols() if absent else ()
        for symbol in sorted(absent.difference(known)):
            raise UnknownNameError("symbol", symbol, known, where=f"source '{self.name}'")

    def _parts(self) -> list[Part]:
        """The files of bars; anew each time, since others add to a folder."""
        storage = self.storage
        found = [
            _part(path, path.removeprefix(storage.root).lstrip("/"), storage.label)
            for path in storage.files()
            if path.lower().endswith(SUFFIXES)
        ]
        if not found:
            raise DataError(f"{storage.label}: there is no file here that ends in {' or '.join(SUFFIXES)}")
        return found

    def _file(self, part: Part) -> BarFile:
        return BarFile(self.storage, part.path, part.label, self.columns, part.symbol, titled=True)


@dataclass(frozen=True)
class Part:
    """A file in a folder, and what its partition says of it: symbol, first day and the day after the last."""

    path: str
    label: str
    symbol: str = ""
    first: date | None = None
    after: date | None = None

    def may_hold(self, symbols: Sequence[str] | None, start: datetime | None, end: datetime | None) -> bool:
        """Whether bars of these symbols and times can be in it."""
        if symbols is not None and self.symbol and self.symbol not in symbols:
            return False
        if start is not None and self.after is not None and self._at(self.after) + MARGIN < start:
            return False
        return not (end is not None and self.first is not None and self._at(self.first) - MARGIN > end)

    @staticmethod
    def _at(day: date) -> datetime:
        return datetime(day.year, day.month, day.day, tzinfo=UTC)


def rebased(table: pa.Table) -> pa.Table:
    """The adjustment of each symbol relative to its first row in time: see `forward_factor`."""
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    order = np.lexsort((table["timestamp"].to_numpy(), symbols.astype(str)))
    factor = np.empty(len(order))
    factor[order] = forward_factor(symbols[order], table["adjustment"].to_numpy()[order])
    place = table.schema.get_field_index("adjustment")
    return table.set_column(place, table.schema.field(place), pa.array(factor, from_pandas=True))


def _part(path: str, relative: str, address: str) -> Part:
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
    return Part(path, label, symbol, first, after)


def _days(keys: Mapping[str, str]) -> tuple[date | None, date | None]:
    if "date" in keys:
        day = date.fromisoformat(keys["date"])
        return day, day + timedelta(days=1)
    if "year" not in keys:
        return None, None
    year = int(keys["year"])
    if "month" not in keys:
        return date(year, 1, 1), date(year + 1, 1, 1)
    month = int(keys["month"])
    if "day" in keys:
        day = date(year, month, int(keys["day"]))
        return day, day + timedelta(days=1)
    return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
