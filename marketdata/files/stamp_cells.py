"""Stamps of bars as cells of a file: text, dates, or times with or without a zone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from marketdata.calendars import FIRST_YEAR, LAST_YEAR
from marketdata.files.bar_stamps import NO_TIME, BarStamps, StampRule

STAMP_EXAMPLE = "2019-01-02T21:00:00Z, or the date alone for the session's close"
UTC_TIME = pa.timestamp("ns", tz="UTC")


# Where a header has several lines, the first cells hold words.
MAX_HEADER_ROWS = 3
HEADER_HINT = ", or say how many lines the header has: header_lines=3"
FORMAT_HINT = ", or tell the form: date_format=%d.%m.%Y, or epoch_ms"
# Python's message for text in an unknown format.
NOT_ISO = "Invalid isoformat string"


@dataclass(frozen=True)
class StampCells:
    """Parses a column of stamps; `label` names the file in errors.

    `timezone` applies to times without one, which are refused while it is empty, unless they are midnights
    that `rule` takes for dates.
    """

    label: str
    rule: StampRule
    timezone: str = ""

    def stamps(self, column: pa.ChunkedArray) -> BarStamps:
        """Return the stamps of all rows; `DataError` names the row of an invalid one."""
        if pa.types.is_timestamp(column.type) and not column.null_count:
            return self._times(column)
        if pa.types.is_nested(column.type):
            raise DataError(f"{self.label}: column 'timestamp' holds {column.type}; write {STAMP_EXAMPLE}")
        cells = column.to_pylist()
        known: dict[object, tuple[np.datetime64, date, bool]] = {}
        for row, cell in enumerate(cells):
            if cell not in known:
                known[cell] = self._stamp(row, cell)
        rows = [known[cell] for cell in cells]
        return BarStamps(
            np.array([moment for moment, _, _ in rows], dtype="datetime64[ns]"),
            np.array([day for _, day, _ in rows], dtype="datetime64[D]"),
            np.array([midnight for _, _, midnight in rows], dtype=bool),
        )

    def _times(self, column: pa.ChunkedArray) -> BarStamps:
        try:
            if column.type.tz is None and not self.timezone:
                return self._without_zone(column)
            known = column if column.type.tz else pc.assume_timezone(column, self.timezone)
            moments = known.cast(UTC_TIME).to_numpy().astype("datetime64[ns]")
            local = pc.local_timestamp(known).cast(pa.timestamp("ns")).to_numpy()
        except pa.ArrowException as error:
            why = " ".join(str(error).split())
            raise DataError(f"{self.label}: column 'timestamp' cannot be read ({why})") from error
        dates = local.astype("datetime64[D]")
        return BarStamps(moments, dates, local == dates)

    def _without_zone(self, column: pa.ChunkedArray) -> BarStamps:
        local = column.cast(pa.timestamp("ns")).to_numpy()
        dates = local.astype("datetime64[D]")
        if not (local == dates).all() or not self.rule.midnights_are_dates:
            first = f" ({column[0].as_py()})" if len(column) else ""
            raise DataError(
                f"{self.label}: column 'timestamp', row 1{first} has no time zone; store times in UTC, or "
                "give the zone: timezone=Europe/London; midnights that are dates are told by stamp=date"
            )
        return BarStamps(np.full(len(dates), NO_TIME), dates, np.ones(len(dates), dtype=bool))

    def _stamp(self, row: int, cell: object) -> tuple[np.datetime64, date, bool]:
        """Return the moment (NaT for a date), the date as written, and True for a midnight."""
        moment: Any = cell
        try:
            if isinstance(cell, str):
                text = cell.strip()
                moment = date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
            if not isinstance(moment, date) or not FIRST_YEAR <= moment.year <= LAST_YEAR:
                raise ValueError(f"{cell} is no time between {FIRST_YEAR} and {LAST_YEAR}")
            return self._parsed(moment)
        except (ValueError, OverflowError) as error:
            count = isinstance(cell, str) and cell.strip().isdigit() and len(cell.strip()) != len("20190102")
            unknown = str(error).startswith(NOT_ISO) or count or not isinstance(cell, str)
            why = "" if unknown else f" ({error})"
            raise DataError(
                f"{self.label}: column 'timestamp', row {row + 1} is {cell!r}{why}; write {STAMP_EXAMPLE}"
                f"{_hint(row, cell) if unknown else ''}"
            ) from error

    def _parsed(self, moment: date) -> tuple[np.datetime64, date, bool]:
        if not isinstance(moment, datetime):
            return NO_TIME, moment, True
        midnight = moment.time() == time()
        if midnight and moment.tzinfo is None and not self.timezone and self.rule.midnights_are_dates:
            return NO_TIME, moment.date(), True
        utc = self._in_utc(moment)
        if not FIRST_YEAR <= utc.year <= LAST_YEAR:
            raise ValueError(f"{moment} is out of reach")
        return np.datetime64(utc.replace(tzinfo=None), "ns"), moment.date(), midnight

    def _in_utc(self, moment: datetime) -> datetime:
        if moment.tzinfo is None and not self.timezone:
            raise ValueError("which has no time zone; give it as timezone=Europe/London")
        if moment.tzinfo is not None:
            return as_utc(moment)
        local = moment.replace(tzinfo=ZoneInfo(self.timezone))
        if as_utc(local) != as_utc(local.replace(fold=1)):
            raise ValueError(f"which is there twice or never in {self.timezone}")
        return as_utc(local)


def _hint(row: int, cell: object) -> str:
    """Return the option that describes such a cell."""
    if any(character.isdigit() for character in str(cell)):
        return FORMAT_HINT if isinstance(cell, str | int) else ""
    return HEADER_HINT if row < MAX_HEADER_ROWS and isinstance(cell, str) else ""
