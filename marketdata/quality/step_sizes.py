"""Steps of prices and adjustment from one bar to the next."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alphaloop.bars import PRICE_COLUMNS
from marketdata.quality.bar_rows import BarRows, Floats, Indices
from marketdata.quality.return_scale import adjusted_closes, scaled_returns
from marketdata.quality.thresholds import Thresholds


@dataclass(frozen=True)
class BarSteps:
    """One symbol's steps from bar to bar, as logs; NaN where a value is not given.

    `prices` are open, high, low and close over the close of the reference, `[4, bars]`, as traded, and
    `recorded` the adjustment over that of the reference, `[bars]`; `neighbour_prices` and
    `neighbour_recorded` the same over the bar just before. Reference, `deviation` and `scale` are those of
    `marketdata.quality.return_scale`. `relative_turnover` is turnover as a multiple of the usual, in shares
    or in money, whichever is less.
    """

    prices: Floats
    recorded: Floats
    neighbour_prices: Floats
    neighbour_recorded: Floats
    deviation: Floats
    scale: Floats
    relative_turnover: Floats

    @property
    def adjusted(self) -> Floats:
        """Steps of the adjusted prices, `[4, bars]`."""
        together: Floats = self.prices + self.recorded
        return together


def bar_steps(rows: BarRows, places: Indices, thresholds: Thresholds) -> BarSteps:
    """Compute the steps of one symbol; its rows `places` are in the order of time."""
    local = scaled_returns(adjusted_closes(rows, places), thresholds)
    opened, high, low, close = (_log(rows.column(name)[0][places]) for name in PRICE_COLUMNS)
    factor = _log(rows.column("adjustment")[0][places])
    values = np.stack([opened, high, low, close])

    def over(before: Indices) -> tuple[Floats, Floats]:
        prices, recorded = values - close[before], factor - factor[before]
        # The first bar has no predecessor.
        prices[:, 0] = recorded[0] = np.nan
        return prices, recorded

    neighbour = np.maximum(np.arange(len(places)) - 1, 0)
    relative_turnover = _relative_turnover(rows, places, thresholds)
    return BarSteps(*over(local.reference), *over(neighbour), local.deviation, local.scale, relative_turnover)


def _relative_turnover(rows: BarRows, places: Indices, thresholds: Thresholds) -> Floats:
    """Return volume over the median before it; NaN if unknown.

    The smaller of the values in shares and in money.
    """
    import pandas as pd

    volume, close = rows.column("volume")[0][places], rows.column("close")[0][places]
    window, least = int(thresholds.outlier_window), int(thresholds.outlier_history)

    def relative(values: Floats) -> Floats:
        usual = pd.Series(values).rolling(max(window, least), min_periods=least).median().shift(1).to_numpy()
        share: Floats = np.where(usual > 0, values / np.where(usual > 0, usual, 1.0), np.nan)
        return share

    with np.errstate(invalid="ignore", over="ignore"):
        relative_turnover: Floats = np.fmin(relative(volume), relative(volume * close))
    return relative_turnover


def _log(values: Floats) -> Floats:
    logs: Floats = np.log(np.where((values > 0) & np.isfinite(values), values, np.nan))
    return logs
