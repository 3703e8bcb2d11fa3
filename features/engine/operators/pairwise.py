"""Mean correlation of all pairs of symbols over the market's last bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import FLAT
from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector, nan_matrix

CHUNK_VALUES = 4_000_000
"""Values processed together in a batch; bounds memory for any length of history."""


@dataclass(frozen=True, slots=True)
class AverageCorrelation:
    """Mean of the correlations of all pairs of symbols over the market's last `length` bars.

    Unlike in a `Window`, bars are those of the market: a symbol that lacks one of the last `length` is left
    out, so that pairs always cover the same moments. Constant series are left out too. Every symbol with a
    bar gets the mean; NaN if there are fewer than two series.
    """

    length: int
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = False
    cross: bool = True

    @property
    def lookback(self) -> int:
        """Length of the window."""
        return self.length

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Compute over every window of the market's bars."""
        values = np.ascontiguousarray(inputs[0])
        result = nan_matrix(values.shape)
        if len(values) < self.length:
            return (result,)
        windows = np.lib.stride_tricks.sliding_window_view(values, self.length, axis=0)
        step = max(CHUNK_VALUES // max(self.length * values.shape[1], 1), 1)
        for first in range(0, len(windows), step):
            last = slice(
                first + self.length - 1, first + self.length - 1 + len(windows[first : first + step])
            )
            found = mean_of_pairs(windows[first : first + step])
            result[last] = np.where(np.isfinite(values[last]), found[:, None], np.nan)
        return (result,)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle with the market's last bars."""
        return _PairwiseHandle(self.length, inputs[0])


class _PairwiseHandle:
    def __init__(self, length: int, history: Matrix) -> None:
        self._last = np.full((history.shape[1], length), np.nan)
        kept = history[-length:].T
        self._last[:, length - kept.shape[1] :] = kept

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Append one bar and compute the mean correlation."""
        self._last = np.concatenate([self._last[:, 1:], inputs[0][:, None]], axis=1)
        found = mean_of_pairs(self._last[None])
        return (np.where(np.isfinite(inputs[0]), found[0], np.nan),)


def mean_of_pairs(windows: Matrix) -> Vector:
    """Compute the mean correlation of the pairs in windows `[T, N, length]`, `[T]`.

    With z the n standardised series, the correlations of all ordered pairs sum to |sum of z|^2 - n, so the
    cost is linear in the number of symbols.
    """
    whole = np.isfinite(windows).all(axis=-1, keepdims=True)
    known = np.where(whole, windows, 0.0)
    centred = known - known.mean(axis=-1, keepdims=True)
    highest = np.abs(centred).max(axis=-1, keepdims=True)
    varies = highest > FLAT * np.abs(known).max(axis=-1, keepdims=True)
    scaled = ratio(centred, np.where(varies, highest, 0.0), 0.0)
    standard = ratio(scaled, np.sqrt((scaled * scaled).sum(axis=-1, keepdims=True)), 0.0)
    count = varies[..., 0].sum(axis=-1).astype(np.float64)
    total = standard.sum(axis=-2)
    pairs = np.where(count >= 2, count * (count - 1), 0.0)
    return np.clip(ratio((total * total).sum(axis=-1) - count, pairs), -1.0, 1.0)
