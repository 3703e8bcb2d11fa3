"""Windows inside a window, for functions of the last bars that need averages of averages.

All functions reduce or slide along the last axis, oldest first, and keep the leading axes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def subwindows(values: Array, length: int) -> Array:
    """Return every run of `length` values: `[..., L]` to `[..., L - length + 1, length]`."""
    return np.lib.stride_tricks.sliding_window_view(values, length, axis=-1)


def subwindow_means(values: Array, length: int) -> Array:
    """Return the average of every run of `length` values, `[..., L - length + 1]`."""
    average: Array = subwindows(values, length).mean(axis=-1)
    return average


def range_midpoint(high: Array, low: Array) -> Array:
    """Return the midpoint of the highest high and the lowest low, `[...]`."""
    middle: Array = (high.max(axis=-1) + low.min(axis=-1)) / 2.0
    return middle


def centred_mean(values: Array) -> Array:
    """Return the average, taken around the last value so that it is exact for a constant, `[...]`."""
    last = values[..., -1]
    mean: Array = last + (values - last[..., None]).mean(axis=-1)
    return mean


def deviation(values: Array) -> Array:
    """Return the population standard deviation, as in Bollinger's bands, `[...]`."""
    around = values - values[..., -1:]
    around = around - around.mean(axis=-1, keepdims=True)
    spread: Array = np.sqrt((around * around).mean(axis=-1))
    return spread


def true_ranges(high: Array, low: Array, close: Array) -> Array:
    """Return the true range of every bar but the first, `[..., L - 1]` (Wilder 1978)."""
    before = close[..., :-1]
    return np.maximum(high[..., 1:], before) - np.minimum(low[..., 1:], before)


def slope(values: Array) -> Array:
    """Return the slope per bar of the least-squares line through the values, `[...]`."""
    length = values.shape[-1]
    places = np.arange(length) - (length - 1) / 2.0
    rise: Array = ((values - values[..., -1:]) * places).sum(axis=-1) / (places * places).sum()
    return rise


def line_end(values: Array) -> Array:
    """Return the least-squares line's value at the last bar, `[...]`."""
    end: Array = centred_mean(values) + slope(values) * ((values.shape[-1] - 1) / 2.0)
    return end
