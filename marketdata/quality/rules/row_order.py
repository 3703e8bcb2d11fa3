"""Rules `sorted` and `check_duplicates`: one row a symbol and timestamp, by timestamp and then symbol."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.quality.bar_rows import BarRows, iso_moment
from marketdata.quality.finding import Finding


def check_row_order(rows: BarRows) -> Iterator[Finding]:
    """Find rows that belong before the row above them."""
    times, codes = rows.times, rows.codes
    same = times[1:] == times[:-1]
    wrong = (times[1:] < times[:-1]) | (same & (codes[1:] < codes[:-1]))
    for row in (np.flatnonzero(wrong) + 1).tolist():
        before = f"{rows.symbol(row - 1)} at {iso_moment(times[row - 1])}"
        yield rows.finding("sorted", row, f"row {row} comes after {before}; sort by timestamp, then symbol")


def check_duplicates(rows: BarRows) -> Iterator[Finding]:
    """Find rows that repeat the symbol and timestamp of another."""
    for _, places in rows.groups:
        twice = np.flatnonzero(np.diff(rows.times[places]) == np.timedelta64(0)) + 1
        for row in np.sort(places[twice]).tolist():
            yield rows.finding("unique", row, f"row {row} repeats a symbol and timestamp")
