"""Rows of a table of bars in the form that the rules use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.bars import to_datetime
from marketdata.quality.finding import Finding, Severity

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class BarRows:
    """A table with the columns of `BARS_SCHEMA`, symbol and timestamp without nulls, in any order."""

    table: pa.Table

    @cached_property
    def times(self) -> npt.NDArray[np.datetime64]:
        """Timestamps, `datetime64[ns]`."""
        times: npt.NDArray[np.datetime64] = self.table["timestamp"].to_numpy().astype("datetime64[ns]")
        return times

    @cached_property
    def _coded(self) -> tuple[list[str], Indices]:
        column = self.table["symbol"].combine_chunks()
        encoded = (column.chunk(0) if isinstance(column, pa.ChunkedArray) else column).dictionary_encode()
        symbols = encoded.dictionary.to_pylist()
        names = sorted(symbols)
        rank = {name: index for index, name in enumerate(names)}
        ranks = np.array([rank[name] for name in symbols], dtype=np.intp)
        return names, ranks[encoded.indices.to_numpy()]

    @property
    def names(self) -> list[str]:
        """Every symbol, sorted."""
        return self._coded[0]

    @property
    def codes(self) -> Indices:
        """Index in `names` of each row's symbol."""
        return self._coded[1]

    @cached_property
    def groups(self) -> list[tuple[str, Indices]]:
        """Each symbol with its row indices, earliest first."""
        order = np.lexsort((self.times, self.codes))
        edges = np.flatnonzero(np.diff(self.codes[order])) + 1
        return [(self.names[self.codes[rows[0]]], rows) for rows in np.split(order, edges) if len(rows)]

    def column(self, name: str) -> tuple[Floats, Flags]:
        """Return the values of a column, with NaN for null, and True where a value is null."""
        if name not in self._columns:
            column = self.table[name]
            values = column.to_numpy(zero_copy_only=False).astype(np.float64)
            self._columns[name] = (values, column.is_null().to_numpy())
        return self._columns[name]

    @cached_property
    def _columns(self) -> dict[str, tuple[Floats, Flags]]:
        return {}

    def symbol(self, row: int) -> str:
        """Return the symbol of a row."""
        name: str = self.names[self.codes[row]]
        return name

    def finding(
        self, rule: str, row: int, value: str, severity: Severity = "error", bars: int = 1
    ) -> Finding:
        """Build a finding that begins at this row."""
        return Finding(rule, self.symbol(row), iso_moment(self.times[row]), value, severity, bars)


def true_runs(wrong: Flags) -> Iterator[tuple[int, int]]:
    """Yield first index and length of each run of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, wrong.astype(np.int8), 0]))
    for first, after in edges.reshape(-1, 2).tolist():
        yield first, after - first


def iso_moment(timestamp: np.datetime64) -> str:
    """Format a timestamp as ISO 8601 text in UTC."""
    return to_datetime(timestamp).isoformat()
