"""Rows of a CSV, Parquet or TOML file as frozen dataclasses.

A column has the name of a field. An empty cell takes the field's default. In TOML the rows are the
tables of one array, whatever its name. Errors name the file, the row and the column.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from alphaloop.errors import DataError
from marketdata.files.number_cells import is_number

SUFFIXES = (".csv", ".parquet", ".toml")
_EXAMPLES = {
    date: "a date, as 2020-08-31",
    datetime: "a moment with its time zone, as 2020-07-30T20:30:00Z",
    Decimal: "a number, as 0.01",
    float: "a number, as 0.5",
    int: "a whole number",
    str: "a text",
}

Record = TypeVar("Record")


def read_dataclasses(
    path: Path, kind: type[Record], defaults: Mapping[str, Any] | None = None
) -> list[Record]:
    """Read the rows of `path`, each as a `kind`. `DataError` for an invalid file or cell.

    `defaults` are the values of empty cells of fields that have no default of their own.
    """
    path, defaults = Path(path), defaults or {}
    types = get_type_hints(kind)
    needed = [
        record_field.name
        for record_field in fields(kind)  # type: ignore[arg-type]
        if record_field.default is MISSING and record_field.name not in defaults
    ]
    records = []
    for number, row in enumerate(_rows(path), start=1):
        place = f"{path}: row {number}"
        strange = [str(name) for name in row if name not in types]
        if strange:
            raise DataError(f"{place}: unknown column '{strange[0]}'; known: {', '.join(types)}")
        cells = {name: cell for name, cell in row.items() if cell is not None and cell != ""}
        for name in needed:
            if name not in cells:
                raise DataError(f"{place}: '{name}' is missing; needed: {', '.join(needed)}")
        values = {name: _cell(cell, types[name], f"{place}, '{name}'") for name, cell in cells.items()}
        try:
            records.append(kind(**{**defaults, **values}))
        except DataError as error:
            raise DataError(f"{place}: {error}") from error
    return records


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: it must end in one of {', '.join(SUFFIXES)}")
    try:
        if suffix == ".parquet":
            return _parquet_rows(path)
        if suffix == ".toml":
            return _toml_rows(path, tomllib.loads(path.read_text(encoding="utf-8")))
        with path.open(encoding="utf-8-sig", newline="") as handle:
            return _csv_rows(path, csv.reader(handle, strict=True))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, csv.Error) as error:
        raise DataError(f"{path}: it cannot be read as {suffix[1:]} ({error})") from error


def _parquet_rows(path: Path) -> Sequence[Mapping[str, Any]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path).read().to_pylist()  # type: ignore[no-any-return]
    except pa.ArrowException as error:
        raise DataError(f"{path}: it cannot be read as parquet ({error})") from error


def _csv_rows(path: Path, lines: Any) -> Sequence[Mapping[str, Any]]:
    header = [name.strip() for name in next(lines, [])]
    if not header:
        raise DataError(f"{path}: it is empty; its first line names the columns")
    if len(set(header)) < len(header):
        raise DataError(f"{path}: two columns have the same name in: {', '.join(header)}")
    rows = []
    for number, cells in enumerate((cells for cells in lines if cells), start=1):
        if len(cells) != len(header):
            raise DataError(
                f"{path}: row {number} has {len(cells)} cells, and there are {len(header)} columns"
            )
        rows.append({name: cell.strip() for name, cell in zip(header, cells, strict=True)})
    return rows


def _toml_rows(path: Path, document: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    arrays = list(document.values())
    if (
        len(arrays) != 1
        or not isinstance(arrays[0], list)
        or not all(isinstance(row, dict) for row in arrays[0])
    ):
        raise DataError(f"{path}: it must hold one array of tables, as [[instrument]], and nothing else")
    return list(arrays[0])


def _cell(cell: Any, kind: Any, place: str) -> Any:
    if get_origin(kind) is Literal:
        if cell not in get_args(kind):
            raise DataError(f"{place} is {cell!r}; known: {', '.join(get_args(kind))}")
        return cell
    if get_origin(kind) is UnionType:
        kind = next(alternative for alternative in get_args(kind) if alternative is not type(None))
    try:
        return _PARSERS[kind](cell)
    except (ValueError, TypeError, InvalidOperation) as error:
        raise DataError(f"{place} is {cell!r}; give {_EXAMPLES[kind]} ({error})") from error


def _moment(cell: Any) -> datetime:
    moment = cell if isinstance(cell, datetime) else datetime.fromisoformat(_text(cell))
    if moment.tzinfo is None:
        raise ValueError("no time zone")
    return moment.astimezone(UTC)


def _day(cell: Any) -> date:
    if isinstance(cell, datetime):
        raise TypeError("a moment")
    return cell if isinstance(cell, date) else date.fromisoformat(_text(cell))


def _text(cell: Any) -> str:
    if not isinstance(cell, str):
        raise TypeError("no text")
    return cell


def _number(cell: Any) -> Decimal:
    # Converted through its text, the float 0.1 becomes the decimal 0.1.
    if isinstance(cell, str) and not is_number(cell):
        raise ValueError("not written as a number")
    number = Decimal(str(cell))
    if not number.is_finite():
        raise ValueError("not finite")
    return number


def _whole(cell: Any) -> int:
    number = _number(cell)
    if number != int(number):
        raise ValueError("not whole")
    return int(number)


_PARSERS: dict[Any, Any] = {
    str: _text,
    float: lambda cell: float(_number(cell)),
    int: _whole,
    Decimal: _number,
    date: _day,
    datetime: _moment,
}
