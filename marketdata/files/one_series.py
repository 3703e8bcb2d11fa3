"""One series of bars from the tables of several files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.errors import DataError

ORDER = [("timestamp", "ascending"), ("symbol", "ascending")]


def merge_tables(tables: Sequence[pa.Table], labels: Sequence[str]) -> pa.Table:
    """Join the rows of several files, sorted by timestamp and symbol.

    `tables` are those of the files, of one schema, and `labels` the files' names. An equal bar in two files
    counts once; `DataError` where its values differ. Two rows of one bar in one file stay: the quality rules
    report them.
    """
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table, sort_keys=ORDER).to_numpy()
    table = table.take(order).combine_chunks()
    if len(tables) < 2 or not len(order):
        return table
    file = np.repeat(np.arange(len(tables)), [part.num_rows for part in tables])[order]
    first = _first_of_bar(table)
    repeated = np.flatnonzero(file != file[first])
    if not len(repeated):
        return table
    original = first[repeated]
    _require_equal(table, original, repeated, [labels[number] for number in file])
    keep = np.ones(len(order), dtype=bool)
    keep[repeated] = False
    return table.filter(pa.array(keep)).combine_chunks()


def _first_of_bar(table: pa.Table) -> npt.NDArray[np.intp]:
    """Return the first row of the bar that each row belongs to; rows are sorted."""
    times = table["timestamp"].to_numpy()
    codes = table["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    new = np.r_[True, (times[1:] != times[:-1]) | (codes[1:] != codes[:-1])]
    rows = np.arange(len(times))
    return np.maximum.accumulate(np.where(new, rows, 0))


def _require_equal(
    table: pa.Table, left: npt.NDArray[np.intp], right: npt.NDArray[np.intp], labels: Sequence[str]
) -> None:
    """Raise `DataError` unless each row `left` has the values of the row `right`."""
    for name in table.schema.names[2:]:
        values = table[name].to_numpy()
        first_values, other = values[left], values[right]
        differs = np.flatnonzero((first_values != other) & ~(np.isnan(first_values) & np.isnan(other)))
        if len(differs):
            row, again = left[differs[0]], right[differs[0]]
            moment = np.datetime_as_string(table["timestamp"].to_numpy()[row], "s")
            raise DataError(
                f"{labels[row]} and {labels[again]} both hold the bar of {table['symbol'][row]} at {moment}Z "
                f"and differ: {name} is {_shown(values[row])} in the first and {_shown(values[again])} in "
                f"the second ({len(differs)} such bars); keep one of the files, or make them agree"
            )


def _shown(value: float) -> str:
    return "not given" if np.isnan(value) else f"{value:.10g}"
