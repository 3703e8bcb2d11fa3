"""Numbers in a user's file: accepted notations, and nothing else."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.errors import DataError

# Digits with a point and an exponent. Python also reads 1_000, digits of other scripts, inf and nan.
NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
# Notations of numpy, pandas and R for unknown or overflowed values: the quality rules judge them, bar by bar.
SPECIAL = r"^[+-]?(?i:nan|inf|infinity)$"
NO_NUMBERS = (pa.types.is_boolean, pa.types.is_temporal, pa.types.is_nested)


def is_number(text: str) -> bool:
    """Return True for a decimal number with optional point and exponent; blanks around it are ignored."""
    return re.match(NUMBER, text.strip()) is not None


def parse_numbers(column: pa.ChunkedArray, name: str, label: str) -> pa.Array:
    """Convert a column to float64, null where a cell is empty; NaN and infinities are accepted.

    `DataError` names the file (`label`), the column (`name`) and the row of a cell that is no number.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if any(is_kind(column.type) for is_kind in NO_NUMBERS):
        raise DataError(f"{label}: column '{name}' holds no numbers, but {column.type}")
    if _is_text(column.type):
        return _from_texts(column.cast(pa.string()).combine_chunks(), name, label)
    try:
        return column.cast(pa.float64()).combine_chunks()
    except pa.ArrowException as error:
        line = " ".join(str(error).split())
        raise DataError(f"{label}: column '{name}' holds no numbers ({line})") from error


def _from_texts(texts: pa.Array, name: str, label: str) -> pa.Array:
    cells = pc.utf8_trim_whitespace(texts)
    cells = pc.if_else(pc.equal(cells, ""), None, cells)
    special = _matches(cells, SPECIAL)
    written = special | _matches(cells, NUMBER)
    if not written.all():
        raise _wrong(texts, int(np.argmin(written)), name, label, "it must be a number, or empty if unknown")
    values = pc.utf8_ltrim(cells, "+").cast(pa.float64())
    fits = special | pc.fill_null(pc.is_finite(values), True).to_numpy(zero_copy_only=False)
    if not fits.all():
        raise _wrong(texts, int(np.argmin(fits)), name, label, "it is too large for a number")
    return values


def _matches(cells: pa.Array, pattern: str) -> npt.NDArray[np.bool_]:
    """Return True where a cell matches `pattern` or is empty."""
    matched = pc.match_substring_regex(cells, pattern)
    matches: npt.NDArray[np.bool_] = pc.fill_null(matched, True).to_numpy(zero_copy_only=False)
    return matches


def _wrong(texts: pa.Array, row: int, name: str, label: str, way_out: str) -> DataError:
    return DataError(f"{label}: column '{name}', row {row + 1} is {texts[row].as_py()!r}; {way_out}")


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in kinds)
