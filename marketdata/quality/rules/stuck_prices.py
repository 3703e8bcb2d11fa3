"""Rule `check_stuck_prices`: prices that do not change."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaloop.bars import PRICE_COLUMNS
from marketdata.quality.bar_rows import BarRows, true_runs
from marketdata.quality.finding import Finding
from marketdata.quality.thresholds import Thresholds


def check_stuck_prices(rows: BarRows, thresholds: Thresholds) -> Iterator[Finding]:
    """Find runs of bars with all given prices equal to those of the bar before."""
    columns = [rows.column(name)[0] for name in PRICE_COLUMNS]
    for _, places in rows.groups:
        same = np.ones(max(len(places) - 1, 0), dtype=bool)
        for values in columns:
            symbol_values = values[places]
            same &= (np.diff(symbol_values) == 0) | (
                np.isnan(symbol_values[1:]) & np.isnan(symbol_values[:-1])
            )
        same &= np.isfinite(columns[-1][places][1:])
        for first, repeats in true_runs(same):
            count = repeats + 1
            if count >= thresholds.stuck_bars:
                row = int(places[first])
                value = f"the price stands at {columns[-1][row]:g} for {count} bars in a row"
                yield rows.finding("stuck", row, value, "warning", bars=count)
