"""Features of a symbol among the others: a second pass over the universe at one timestamp.

They take float64 `[T, N]` (`[1, N]` in a stream) and look at each row by itself. Only comparisons,
counts and medians are used, which do not depend on an order of summation: a row gives the same bits
alone and among thousands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.price import PRICE_FEATURES, PriceFeature

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CrossFeature:
    """`function` over the universe's values of the price feature `of`, at each timestamp."""

    name: str
    of: PriceFeature
    function: Callable[[Matrix], Matrix]

    @property
    def lookback(self) -> int:
        """Bars needed for the first value, that bar included."""
        return self.of.lookback

    @property
    def inputs(self) -> tuple[str, ...]:
        """The columns of bars that it needs."""
        return self.of.inputs

    def definition(self) -> dict[str, Any]:
        """What determines its values; part of a feature set's hash."""
        return {"name": self.name, "of": self.of.definition(), "function": self.function.__name__}


def centred_rank(values: Matrix) -> Matrix:
    """Ranks within each row from -1 (lowest) to 1 (highest), ties sharing their mean; NaN stays NaN.

    A row with a single finite value ranks it 0. Shape `[T, N]` to `[T, N]`.
    """
    order = np.argsort(values, axis=1, kind="stable")
    ordered = np.take_along_axis(values, order, axis=1)
    place = np.broadcast_to(np.arange(values.shape[1]), values.shape)
    begins = np.ones(values.shape, dtype=bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    ends = np.ones(values.shape, dtype=bool)
    ends[:, :-1] = begins[:, 1:]
    first = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    last = np.minimum.accumulate(np.where(ends, place, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    # Twice the mean place of a tie, minus twice the middle place: an exact integer.
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    doubled = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(doubled, order, first + last - (count - 1), axis=1)
    ranks = doubled / np.maximum(count - 1, 1)
    return np.where(np.isfinite(values), ranks, np.nan)


def share_positive(values: Matrix) -> Matrix:
    """The share of each row's finite values above zero, less a half, for every symbol that has one."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1, keepdims=True)
    share = (values > 0).sum(axis=1, keepdims=True) / np.maximum(count, 1) - 0.5
    return np.where(finite, share, np.nan)


def universe_median(values: Matrix) -> Matrix:
    """The median of each row's finite values, for every symbol that has one."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    ordered = np.sort(values, axis=1)
    rows = np.arange(len(values))
    low = ordered[rows, np.maximum((count - 1) // 2, 0)]
    high = ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(finite, ((low + high) / 2)[:, None], np.nan)


_BY_NAME = {feature.name: feature for feature in PRICE_FEATURES}


def _rank(name: str) -> CrossFeature:
    return CrossFeature(f"rank_{name}", _BY_NAME[name], centred_rank)


CROSS_FEATURES: tuple[CrossFeature, ...] = (
    *(_rank(name) for name in ("momentum_252_21", "return_5", "return_21", "volatility_21", "rsi_14")),
    CrossFeature("market_breadth_50", _BY_NAME["distance_sma_50"], share_positive),
    CrossFeature("market_volatility_21", _BY_NAME["volatility_21"], universe_median),
)
