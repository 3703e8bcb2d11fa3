"""Parity check: backfill, stream and online store must give the same features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.clock import SystemClock
from alphaloop.errors import DataError
from features.compute.batch import Panel, backfill
from features.feature_set import FeatureSet
from features.store.online_address import PROJECT, SQLITE, OnlineAddress, online_address
from features.store.online_reader import OnlineReader
from features.store.streamer import Streamer

WINDOW_ROWS = 4
SNAPSHOT = "parity"
FLOAT32_EPSILON = float(np.finfo(np.float32).eps)
"""Allowed relative difference: one within 1e-9 can tip the rounding to float32 by one last bit."""


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Largest differences between backfill, stream and online store.

    Parameters
    ----------
    max_abs_diff : float
        Largest absolute difference of all features; infinite where only one of two has a value.
    by_feature : dict of str to float
        Largest absolute difference by feature; infinite as above.
    relative : dict of str to float
        Largest difference by feature, relative to the larger value; infinite as above.
    promised : dict of str to float
        Relative difference that each feature's definition allows: 0, or the last bit of float32.
    bars, symbols : int
        Numbers of bars and symbols compared.
    """

    max_abs_diff: float
    by_feature: dict[str, float]
    relative: dict[str, float]
    promised: dict[str, float]
    bars: int
    symbols: int

    @property
    def identical(self) -> bool:
        """True if all three agree to the last bit."""
        return self.max_abs_diff == 0.0

    @property
    def broken(self) -> tuple[str, ...]:
        """Features that differ by more than their definition allows."""
        return tuple(name for name, apart in self.relative.items() if apart > self.promised[name])


def measure_parity(
    folder: Path, bars: BarPanel, feature_set: FeatureSet, last: int, online: str | OnlineAddress = SQLITE
) -> ParityReport:
    """Send the last bars through backfill, stream and online store, and compare.

    Parameters
    ----------
    folder : Path
        Folder of the feature store. The check uses an online store of its own, in this folder or in Redis
        beside the one that serving reads.
    bars : BarPanel
        At least 2 bars; those before the last `last` are history.
    feature_set : FeatureSet
        Features to compare.
    last : int
        Number of bars to send, from 1 to `len(bars) - 1`.
    online : str or OnlineAddress, default "sqlite"
        Kind and address of the online store.

    Returns
    -------
    ParityReport
        Differences by feature.

    Raises
    ------
    DataError
        If there are too few bars, or `last` is out of range.
    MissingPartError
        If Feast is not installed.
    VendorError
        If Redis cannot be reached.
    """
    address = online_address(online).named(f"{PROJECT}_{SNAPSHOT}")
    if len(bars) < 2:
        raise DataError(f"parity needs at least 2 bars, one of them as history; there are {len(bars)}")
    if not 1 <= last < len(bars):
        raise DataError(f"parity over the last {last} of {len(bars)} bars: give 1 to {len(bars) - 1}")
    first_live = len(bars) - last
    history = bars.between(end=bars.at(first_live - 1).timestamp)
    frame = backfill(bars, feature_set)
    reader = OnlineReader(folder, address)
    absolute, relative = np.zeros((2, len(feature_set)))
    with Streamer(
        folder, feature_set, bars.symbols, history, WINDOW_ROWS, SystemClock(), replace=True, online=address
    ) as streamer:
        for index in range(last):
            bar = bars.at(first_live + index)
            streamed = streamer.publish(bar, SNAPSHOT)
            built = frame.window(first_live + index, WINDOW_ROWS)
            stored = reader.stored(bars.symbols)
            read = np.stack([stored[symbol].values for symbol in bars.symbols])
            for one, other in ((built[:, -1], streamed), (built, read), (streamed, read[:, -1])):
                apart, share = _largest(one, other)
                absolute, relative = np.maximum(absolute, apart), np.maximum(relative, share)
    names = feature_set.names
    return ParityReport(
        max_abs_diff=float(absolute.max()),
        by_feature=dict(zip(names, absolute.tolist(), strict=True)),
        relative=dict(zip(names, relative.tolist(), strict=True)),
        promised={one.name: 0.0 if one.exact else FLOAT32_EPSILON for one in feature_set.features},
        bars=last,
        symbols=len(bars.symbols),
    )


def _largest(one: Panel, other: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest absolute and relative difference by feature (the last axis)."""
    left, right = one.astype(np.float64), other.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.where(left == right, 0.0, np.abs(left - right))
    larger = np.maximum(np.abs(left), np.abs(right))
    share = np.divide(apart, larger, out=np.zeros_like(apart), where=apart > 0)
    for difference in (apart, share):
        difference[np.isnan(one) & np.isnan(other)] = 0.0
        difference[np.isnan(one) != np.isnan(other)] = np.inf
    width = apart.shape[-1]
    return apart.reshape(-1, width).max(axis=0), share.reshape(-1, width).max(axis=0)
