"""External observations: sentiment, macroeconomic releases, on-chain metrics, events.

A table with one row for each publication: `series` (its name), `symbol` (empty: all symbols), `published`
(first moment at which anyone could know it), `effective` (the moment or period it describes) and `value`. A
later row of the same series, symbol and effective revises the earlier one from its publication on; one
without a value withdraws it.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from alphaloop.errors import DataError
from marketdata.files.number_cells import is_number

_MOMENT = pa.timestamp("ns", tz="UTC")
OBSERVATIONS_SCHEMA = pa.schema(
    [
        pa.field("series", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("published", _MOMENT, nullable=False),
        pa.field("effective", _MOMENT, nullable=False),
        pa.field("value", pa.float64()),
    ]
)
REQUIRED_COLUMNS = ("series", "published", "value")
SUFFIXES = (".csv", ".parquet")
KEY_COLUMNS = ("series", "symbol", "effective", "published")


def read_observations(path: Path) -> pa.Table:
    """Read the observations in a CSV or Parquet file, in the form that `normalise_observations` returns.

    `DataError` names file and row.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: observations are read from files that end in {' or '.join(SUFFIXES)}")
    table = _csv(path) if path.suffix.lower() == ".csv" else _parquet(path)
    return normalise_observations(table, str(path))


def normalise_observations(table: pa.Table, place: str = "observations") -> pa.Table:
    """Convert a table to the columns of `OBSERVATIONS_SCHEMA`, sorted by publication.

    Text cells are parsed: moments with a time zone (`effective` may be a bare date), numbers. `symbol` may be
    missing (all symbols) and so may `effective` (equal to `published`). Identical rows become one. `place` is
    the name of the table in errors. Raises `DataError` for cells that cannot be parsed, for two different
    values of one observation published at once, and for a series with rows of all symbols and rows of one.
    """
    named = {name.strip().lower(): table[name] for name in table.column_names}
    for name in REQUIRED_COLUMNS:
        if name not in named:
            raise DataError(f"{place}: column '{name}' is missing; it has: {', '.join(named) or 'none'}")
    for name in named:
        if name not in OBSERVATIONS_SCHEMA.names:
            known = ", ".join(OBSERVATIONS_SCHEMA.names)
            raise DataError(f"{place}: unknown column '{name}'; known: {known}")
    absent = pa.nulls(len(table), pa.string())
    published = _moments(named["published"], None, f"{place}, 'published'")
    columns = {
        "series": _texts(named["series"], f"{place}, 'series'", needed=True),
        "symbol": _texts(named.get("symbol", absent), f"{place}, 'symbol'", needed=False),
        "published": published,
        "effective": _moments(named.get("effective", absent), published, f"{place}, 'effective'"),
        "value": _values(named["value"], f"{place}, 'value'"),
    }
    observations = pa.table(columns, schema=OBSERVATIONS_SCHEMA)
    # Feeds repeat rows; a copy adds nothing.
    observations = observations.group_by(OBSERVATIONS_SCHEMA.names, use_threads=False).aggregate([])
    observations = observations.select(OBSERVATIONS_SCHEMA.names).cast(OBSERVATIONS_SCHEMA)
    _require_one_each(observations, place)
    order = [("published", "ascending"), ("series", "ascending"), ("symbol", "ascending")]
    return observations.sort_by([*order, ("effective", "ascending")])


def _require_one_each(table: pa.Table, place: str) -> None:
    counts = table.group_by(list(KEY_COLUMNS)).aggregate([([], "count_all")])
    if len(counts) < len(table):
        twice = next(row for row in counts.to_pylist() if row["count_all"] > 1)
        thing = f"'{twice['series']}' of {twice['symbol'] or 'all symbols'}, effective {twice['effective']}"
        raise DataError(
            f"{place}: {thing}, has {twice['count_all']} values published at {twice['published']}; keep one"
        )
    kinds: dict[str, set[str]] = {}
    for row in table.group_by(["series", "symbol"]).aggregate([]).to_pylist():
        kinds.setdefault(row["series"], set()).add(row["symbol"])
    for series, symbols in kinds.items():
        if "" in symbols and len(symbols) > 1:
            other = min(symbols - {""})
            raise DataError(
                f"{place}: '{series}' has rows of all symbols (empty) and of '{other}'; give them two names"
            )


def _csv(path: Path) -> pa.Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV: {error}") from error
    if not rows:
        raise DataError(
            f"{path} is empty; its first line names the columns: {', '.join(REQUIRED_COLUMNS)}, …"
        )
    header, body = rows[0], [row for row in rows[1:] if row]
    if len(set(header)) < len(header):
        raise DataError(f"{path}: a column is named twice: {', '.join(header)}")
    for number, row in enumerate(body, start=1):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} cells and the header {len(header)}")
    return pa.table(
        [pa.array([row[index] for row in body], pa.string()) for index in range(len(header))], names=header
    )


def _parquet(path: Path) -> pa.Table:
    try:
        table: pa.Table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    return table


def _texts(column: Any, place: str, *, needed: bool) -> pa.Array:
    texts = [str(cell).strip() if cell is not None else "" for cell in column.to_pylist()]
    for number, text in enumerate(texts, start=1):
        if needed and not text:
            raise DataError(f"{place}: row {number} is empty")
    return pa.array(texts, pa.string())


def _moments(column: Any, default: Any, place: str) -> pa.Array:
    """Parse moments in UTC; empty cells take that of `default`. Bare dates need a default."""
    if pa.types.is_timestamp(column.type) and column.type.tz is not None and not column.null_count:
        return _as_moments(column, place)
    defaults: Sequence[Any] = [None] * len(column) if default is None else default.to_pylist()
    moments = []
    for number, (cell, instead) in enumerate(zip(column.to_pylist(), defaults, strict=True), start=1):
        empty = cell is None or cell == ""
        if empty and instead is None:
            raise DataError(f"{place}: row {number} is empty")
        moments.append(instead if empty else _moment(cell, default is not None, f"{place}: row {number}"))
    return _as_moments(pa.array(moments, pa.timestamp("us", tz="UTC")), place)


def _as_moments(column: Any, place: str) -> Any:
    try:
        return column.cast(_MOMENT)
    except pa.ArrowInvalid as error:
        raise DataError(f"{place}: a moment is not between the years 1678 and 2261: {error}") from error


def _moment(cell: Any, bare: bool, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat(cell.strip()) if isinstance(cell, str) else cell
    except ValueError as error:
        raise DataError(f"{place}: '{cell}' is no moment ({error}); write 2020-07-30T12:30:00Z") from error
    if not isinstance(moment, date):
        raise DataError(f"{place}: '{cell}' is no moment; write 2020-07-30T12:30:00Z")
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
    if moment.tzinfo is None:
        at_midnight = moment == datetime(moment.year, moment.month, moment.day)  # noqa: DTZ001
        if not (bare and at_midnight):
            raise DataError(f"{place}: '{cell}' has no time zone; write 2020-07-30T12:30:00Z")
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError) as error:
        raise DataError(f"{place}: '{cell}' is out of range ({error})") from error


def _values(column: Any, place: str) -> pa.Array:
    values: list[float | None] = []
    for number, cell in enumerate(column.to_pylist(), start=1):
        if cell is None or cell == "":
            values.append(None)
            continue
        try:
            value = float(cell)
            if isinstance(cell, str) and np.isfinite(value) and not is_number(cell):
                raise ValueError("not written as a number")
        except (TypeError, ValueError) as error:
            raise DataError(f"{place}: row {number}: '{cell}' is not a number ({error})") from error
        if np.isinf(value):
            raise DataError(f"{place}: row {number}: the value is infinite")
        values.append(None if np.isnan(value) else value)
    return pa.array(values, pa.float64())
