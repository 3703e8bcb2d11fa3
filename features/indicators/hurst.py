"""The Hurst exponent: 0.5 for a random walk, above for a price that trends, below for one that reverts."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values, window_log_returns
from features.engine.arithmetic.parameters import require_bars
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

GROUP = "statistics"
MIN_BLOCK_BARS = 8
"""Returns in the shortest stretch whose range is looked at."""


@indicator(group=GROUP, reference="Hurst 1951; Anis and Lloyd 1976")
def hurst_rescaled_range(length: int = 128) -> Operator:
    """Hurst exponent of the last `length` log returns by rescaled range; NaN if they are constant.

    Mean range over standard deviation in stretches of 8, 16, 32, … returns (Hurst, "Long-term storage
    capacity of reservoirs", 1951), as a ratio to what independent returns would show (Anis and Lloyd,
    "The expected value of the adjusted rescaled Hurst range", Biometrika 63, 1976); the slope of its
    logarithm on that of the size, plus 0.5. Without the correction short windows of noise show 0.6.
    """
    return Window(_rescaled_range, require_bars("length", length, 4 * MIN_BLOCK_BARS) + 1)


@indicator(group=GROUP, reference="Taqqu, Teverovsky and Willinger 1995")
def hurst_aggregated_variance(length: int = 128) -> Operator:
    """Hurst exponent of the last `length` log returns by aggregated variance; NaN if constant.

    Returns' means over stretches of 1, 2, 4, … have variances that go as size to the power 2H - 2: H is
    half the slope of their logarithms, plus 1. At least 8 stretches of each size are asked for. Taqqu,
    Teverovsky and Willinger, "Estimators for long-range dependence: an empirical study", Fractals 3 (1995).
    """
    return Window(_aggregated_variance, require_bars("length", length, 4 * MIN_BLOCK_BARS) + 1)


def _rescaled_range(close: Values) -> Values:
    returns = window_log_returns(close)
    sizes = _doublings(MIN_BLOCK_BARS, returns.shape[-1] // 2)
    found = []
    for size in sizes:
        centred = moments.deviations(_stretches(returns, size))
        rescaled = ratio(_range_of_walk(centred), np.sqrt(np.add.reduce(centred * centred, axis=-1) / size))
        usable = np.isfinite(rescaled)
        total = np.add.reduce(np.where(usable, rescaled, 0.0), axis=-1)
        mean = ratio(total, np.add.reduce(usable, axis=-1, dtype=np.float64))
        found.append(np.log(mean / _expected_range(size)))
    return _slope_on_logarithms(found, sizes) + 0.5


def _range_of_walk(steps: Values) -> Values:
    """Return the range of walks that begin at 0, `[..., size]` to `[...]`."""
    walk = np.add.accumulate(steps, axis=-1)
    high = np.maximum(np.maximum.reduce(walk, axis=-1), 0.0)
    found: Values = high - np.minimum(np.minimum.reduce(walk, axis=-1), 0.0)
    return found


def _aggregated_variance(close: Values) -> Values:
    returns = window_log_returns(close)
    sizes = _doublings(1, returns.shape[-1] // MIN_BLOCK_BARS)
    spread = [moments.window_variance(_stretches(returns, size).mean(axis=-1)) for size in sizes]
    found = [np.log(np.where(one > 0, one, np.nan)) for one in spread]
    return 1 + _slope_on_logarithms(found, sizes) / 2


def _doublings(first: int, last: int) -> list[int]:
    sizes = [first]
    while sizes[-1] * 2 <= last:
        sizes.append(sizes[-1] * 2)
    return sizes


def _stretches(returns: Values, size: int) -> Values:
    """Return the last whole stretches of `size`, `[..., stretches, size]`."""
    count = returns.shape[-1] // size
    kept = returns[..., returns.shape[-1] - count * size :]
    return kept.reshape(*kept.shape[:-1], count, size)


@cache
def _expected_range(size: int) -> float:
    """Return the expected rescaled range of `size` independent normals (Anis and Lloyd 1976, eq. 2)."""
    constant = math.exp(math.lgamma((size - 1) / 2) - math.lgamma(size / 2)) / math.sqrt(math.pi)
    return constant * sum(math.sqrt((size - part) / part) for part in range(1, size))


def _slope_on_logarithms(values: list[Values], sizes: list[int]) -> Values:
    places = np.log(np.array(sizes, dtype=np.float64))
    places = places - places.mean()
    found: Values = sum(value * place for value, place in zip(values, places, strict=True)) / np.sum(
        places**2
    )
    return found
