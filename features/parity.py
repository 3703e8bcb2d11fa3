"""Parity: the same bars through backfill, stream and online store must give the same features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphaloop.clock import SystemClock
from alphaloop.errors import DataError
from alphaloop.market import BarPanel
from features.build import Panel, backfill
from features.sets import FeatureSet
from features.store import OnlineReader
from features.streamer import Streamer

WINDOW = 4
SNAPSHOT = "parity"


@dataclass(frozen=True, slots=True)
class ParityReport:
    """The largest absolute differences between any two of the three ways, in all and by feature.

    Infinite where one way has a value and another has none. Counted over `bars` and `symbols`.
    """

    max_abs_diff: float
    by_feature: dict[str, float]
    bars: int
    symbols: int

    @property
    def identical(self) -> bool:
        """Whether all three agree to the last bit."""
        return self.max_abs_diff == 0.0


def measure(folder: Path, bars: BarPanel, feature_set: FeatureSet, last: int) -> ParityReport:
    """Send the `last` bars through all three ways and compare.

    The online store used is one of its own, in `folder`, not the one that serving reads. `DataError`
    unless `last` is at least 1 and leaves a bar of history.
    """
    if not 1 <= last < len(bars):
        raise DataError(f"parity over the last {last} of {len(bars)} bars: give 1 to {len(bars) - 1}")
    first_live = len(bars) - last
    history = bars.between(end=bars.at(first_live - 1).timestamp)
    frame = backfill(bars, feature_set)
    reader = OnlineReader(folder)
    differences = np.zeros(len(feature_set))
    with Streamer(
        folder, feature_set, bars.symbols, history, WINDOW, SystemClock(), replace=True
    ) as streamer:
        for index in range(last):
            bar = bars.at(first_live + index)
            streamed = streamer.publish(bar, SNAPSHOT)
            built = frame.window(first_live + index, WINDOW)
            stored = reader.stored(bars.symbols)
            online = np.stack([stored[symbol].values for symbol in bars.symbols])
            for one, other in ((built[:, -1], streamed), (built, online), (streamed, online[:, -1])):
                differences = np.maximum(differences, _largest(one, other))
    return ParityReport(
        max_abs_diff=float(differences.max()),
        by_feature=dict(zip(feature_set.names, differences.tolist(), strict=True)),
        bars=last,
        symbols=len(bars.symbols),
    )


def _largest(one: Panel, other: Panel) -> np.ndarray:
    """Largest difference by feature, the last axis."""
    difference = np.abs(one.astype(np.float64) - other.astype(np.float64))
    difference[np.isnan(one) & np.isnan(other)] = 0.0
    difference[np.isnan(one) != np.isnan(other)] = np.inf
    largest: np.ndarray = difference.reshape(-1, difference.shape[-1]).max(axis=0)
    return largest
