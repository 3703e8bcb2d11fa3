"""Backfill: features of all bars at once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError
from alphaloop.market import BarPanel, FloatMatrix, Timestamps, to_datetime, to_datetime64
from features.cross_section import CrossFeature
from features.price import PriceFeature
from features.sets import FeatureSet

Panel = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FeatureFrame:
    """Features of a universe: `values` is float32 `[timestamps, symbols, names]`, NaN where unknown.

    `feature_set` is the hash of the set that `names` come from.
    """

    timestamps: Timestamps
    symbols: tuple[str, ...]
    names: tuple[str, ...]
    values: Panel
    feature_set: str

    def __len__(self) -> int:
        return len(self.timestamps)

    def index_of(self, timestamp: datetime) -> int:
        """The row of a bar; `DataError` if there is none at that moment."""
        wanted = to_datetime64(timestamp)
        index = int(np.searchsorted(self.timestamps, wanted))
        if index == len(self) or self.timestamps[index] != wanted:
            raise DataError(f"there are no features at {timestamp.isoformat()}; they cover {self._span()}")
        return index

    def window(self, index: int, lookback: int) -> Panel:
        """The `lookback` rows up to and including `index`, float32 `[symbols, lookback, features]`.

        Rows before the first bar are NaN.
        """
        if not 0 <= index < len(self) or lookback < 1:
            raise DataError(f"no window of {lookback} rows at row {index}; there are {len(self)} rows")
        first = index + 1 - lookback
        rows = self.values[max(first, 0) : index + 1]
        window = np.full((lookback, *self.values.shape[1:]), np.nan, dtype=np.float32)
        window[lookback - len(rows) :] = rows
        return np.ascontiguousarray(window.transpose(1, 0, 2))

    def _span(self) -> str:
        if not len(self):
            return "nothing"
        ends = (to_datetime(self.timestamps[0]), to_datetime(self.timestamps[-1]))
        return " to ".join(end.isoformat() for end in ends)


def backfill(bars: BarPanel, feature_set: FeatureSet) -> FeatureFrame:
    """Features of every bar. `DataError` if the bars lack a column that a feature needs.

    A bar that a symbol lacks has no features; its later ones are computed as if time had skipped it.
    """
    require_inputs(bars, feature_set)
    close = bars.adjusted_close
    series = {feature.name: _by_symbol(feature, close) for feature in feature_set.price_features}
    return FeatureFrame(
        timestamps=bars.timestamps,
        symbols=bars.symbols,
        names=feature_set.names,
        values=assemble(series, feature_set),
        feature_set=feature_set.hash,
    )


def assemble(series: dict[str, FloatMatrix], feature_set: FeatureSet) -> Panel:
    """Price features `[T, N]` by name, and the cross-section over them, as float32 `[T, N, F]`."""
    columns = [
        feature.function(series[feature.of.name])
        if isinstance(feature, CrossFeature)
        else series[feature.name]
        for feature in feature_set.features
    ]
    return np.stack(columns, axis=-1).astype(np.float32)


def require_inputs(bars: BarPanel, feature_set: FeatureSet) -> None:
    """Raise `DataError` for a feature that needs a column which these bars do not have."""
    for feature in feature_set.features:
        for column in feature.inputs:
            if len(bars) and not np.isfinite(getattr(bars, column)).any():
                raise DataError(f"feature '{feature.name}' needs '{column}', which these bars do not have")


def _by_symbol(feature: PriceFeature, close: FloatMatrix) -> FloatMatrix:
    values = np.full(close.shape, np.nan)
    for column in range(close.shape[1]):
        finite = np.isfinite(close[:, column])
        values[finite, column] = feature.batch(close[finite, column])
    return values
