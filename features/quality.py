"""Data quality: what must hold of bars before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.errors import DataError
from alphaloop.market import BARS_SCHEMA, PRICE_COLUMNS, to_datetime
from features.calendars import require_calendar, session_closes

Severity = Literal["error", "warning"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a table of bars.

    `rule` is one of schema, sorted, unique, price, nan, calendar, gap. `symbol` and `timestamp` say
    where (empty if it concerns the whole table), `value` what was found there.
    """

    rule: str
    symbol: str
    timestamp: str
    value: str
    severity: Severity = "error"

    def __str__(self) -> str:
        place = " at ".join(part for part in (self.symbol, self.timestamp) if part)
        return f"[{self.rule}] {place + ': ' if place else ''}{self.value}"


@dataclass(frozen=True, slots=True)
class _Rows:
    symbols: npt.NDArray[np.object_]
    times: npt.NDArray[np.datetime64]
    table: pa.Table

    def finding(self, rule: str, row: int, value: str) -> Finding:
        return Finding(rule, str(self.symbols[row]), _moment(self.times[row]), value)

    def column(self, name: str) -> tuple[Floats, npt.NDArray[np.bool_]]:
        """Values, with NaN for null, and which of them are null."""
        column = self.table[name]
        return column.to_numpy(zero_copy_only=False).astype(np.float64), column.is_null().to_numpy()


def check(table: pa.Table, calendar: str) -> list[Finding]:
    """Everything wrong with `table` (columns of `BARS_SCHEMA`), worst rules first.

    A table without the right columns, or with no rows, is checked no further.
    """
    require_calendar(calendar)
    findings = list(_schema(table))
    if findings:
        return findings
    rows = _Rows(
        table["symbol"].to_numpy(zero_copy_only=False),
        table["timestamp"].to_numpy().astype("datetime64[ns]"),
        table,
    )
    return [*_sorted(rows), *_unique(rows), *_prices(rows), *_nan_runs(rows), *_sessions(rows, calendar)]


def require_clean(table: pa.Table, calendar: str, name: str) -> None:
    """Raise `DataError` naming the first error of `table` and how many there are; `name` is its origin."""
    errors = [finding for finding in check(table, calendar) if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more findings)" if len(errors) > 1 else ""
        raise DataError(
            f"{name}: {errors[0]}{more}; mend the data, or see all of it with: alphaloop data check --json"
        )


def _schema(table: pa.Table) -> Iterator[Finding]:
    for field in BARS_SCHEMA:
        if field.name not in table.schema.names:
            yield Finding("schema", "", "", f"column '{field.name}' is missing; it has: {table.schema.names}")
        elif table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            yield Finding("schema", "", "", f"column '{field.name}' is {found}; it must be {field.type}")
        elif field.name in ("symbol", "timestamp") and table[field.name].null_count:
            yield Finding("schema", "", "", f"column '{field.name}' has {table[field.name].null_count} nulls")
    if table.num_rows == 0:
        yield Finding("schema", "", "", "there are no rows")


def _sorted(rows: _Rows) -> Iterator[Finding]:
    earlier = rows.times[1:] < rows.times[:-1]
    same = rows.times[1:] == rows.times[:-1]
    wrong = earlier | (same & (rows.symbols[1:] < rows.symbols[:-1]))
    for row in np.flatnonzero(wrong) + 1:
        before = f"{rows.symbols[row - 1]} at {_moment(rows.times[row - 1])}"
        yield rows.finding(
            "sorted", int(row), f"row {row} comes after {before}; sort by timestamp, then symbol"
        )


def _unique(rows: _Rows) -> Iterator[Finding]:
    order = np.lexsort((rows.symbols.astype(str), rows.times))
    symbols, times = rows.symbols[order], rows.times[order]
    twice = np.flatnonzero((symbols[1:] == symbols[:-1]) & (times[1:] == times[:-1])) + 1
    for place in twice:
        row = int(order[place])
        yield rows.finding("unique", row, f"row {row} repeats a symbol and timestamp")


def _prices(rows: _Rows) -> Iterator[Finding]:
    for name in (*PRICE_COLUMNS, "adjustment"):
        values, _ = rows.column(name)
        for row in np.flatnonzero((values <= 0) | np.isinf(values)):
            yield rows.finding("price", int(row), f"{name} is {values[row]:g}; it must be positive")
    volume, _ = rows.column("volume")
    for row in np.flatnonzero(volume < 0):
        yield rows.finding("price", int(row), f"volume is {volume[row]:g}; it cannot be negative")


def _nan_runs(rows: _Rows) -> Iterator[Finding]:
    """Runs of missing values: always wrong in close and adjustment; elsewhere null means "not given"."""
    for name in (*PRICE_COLUMNS, "volume", "adjustment"):
        values, null = rows.column(name)
        missing = np.isnan(values)
        if name not in ("close", "adjustment"):
            missing &= ~null
        if not missing.any():
            continue
        for symbol in np.unique(rows.symbols[missing].astype(str)):
            mine = np.flatnonzero(rows.symbols == symbol)
            edges = np.flatnonzero(np.diff(np.r_[0, missing[mine].astype(np.int8), 0]))
            for first, after in edges.reshape(-1, 2):
                yield rows.finding(
                    "nan", int(mine[first]), f"{name} is NaN for {after - first} bars in a row"
                )


def _sessions(rows: _Rows, calendar: str) -> Iterator[Finding]:
    """Bars on days without a session, and sessions without a bar between a symbol's first and last."""
    if calendar == "24/7":
        yield from _holes(rows)
        return
    days = rows.times.astype("datetime64[D]")
    sessions = session_closes(days.min().item(), days.max().item(), calendar).astype("datetime64[D]")
    for row in np.flatnonzero(~np.isin(days, sessions)):
        yield rows.finding("calendar", int(row), f"{days[row]} is no session of {calendar}")
    for symbol in np.unique(rows.symbols.astype(str)):
        mine = days[rows.symbols == symbol]
        expected = sessions[(sessions >= mine.min()) & (sessions <= mine.max())]
        for day in np.setdiff1d(expected, mine):
            yield Finding("gap", symbol, str(day), f"no bar on this session of {calendar}")


def _holes(rows: _Rows) -> Iterator[Finding]:
    """Where the market never closes: steps longer than the usual one."""
    for symbol in np.unique(rows.symbols.astype(str)):
        times = np.unique(rows.times[rows.symbols == symbol])
        steps = np.diff(times)
        if not len(steps):
            continue
        usual = np.median(steps.astype(np.int64)).astype("timedelta64[ns]")
        for place in np.flatnonzero(steps > usual):
            missing = int(steps[place] / usual) - 1
            yield Finding(
                "gap", symbol, _moment(times[place]), f"{max(missing, 1)} bars are missing after this one"
            )


def _moment(timestamp: np.datetime64) -> str:
    return to_datetime(timestamp).isoformat()
