"""Allocation of capital, the built-in strategy: from scores to portfolio weights.

The book is long-only around equal weight: a symbol with an average score holds `gross / symbols`, and one
with a better score holds more. Two brakes keep costs down: each bar trades only a share of the way to the
target (Gârleanu and Pedersen 2013, "Dynamic Trading with Predictable Returns and Transaction Costs"), and
distances below a band are not traded at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from alphaloop.decision.strategy import StrategyView

if TYPE_CHECKING:
    from alphaloop.settings.trading import TradingSettings

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationStrategy:
    """Long-only tilts around equal weight, traded part of the way at each bar.

    Parameters
    ----------
    tilt : float
        Weight that one standard deviation of score rank adds, as a share of equal weight; at least 0.
    rate : float
        Share of the distance to the target weight that one bar trades, in (0, 1].
    band : float
        Distance to the target below which nothing is traded, as a share of equal weight; at least 0.
    gross : float
        Sum of the weights, as a share of equity; above 0.

    Raises
    ------
    ValueError
        For a parameter outside of its range.

    References
    ----------
    Gârleanu and Pedersen 2013, "Dynamic Trading with Predictable Returns and Transaction Costs".

    Examples
    --------
    >>> AllocationStrategy(rate=0.0)
    Traceback (most recent call last):
        ...
    ValueError: rate is 0.0; it is a share of the distance, in (0, 1]
    """

    name: ClassVar[str] = "allocation"

    tilt: float = 0.5
    rate: float = 0.1
    band: float = 0.05
    gross: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise ValueError(f"rate is {self.rate}; it is a share of the distance, in (0, 1]")
        if self.tilt < 0 or self.band < 0 or self.gross <= 0:
            raise ValueError(f"tilt and band cannot be negative, and gross must be positive: {self}")

    @classmethod
    def from_settings(cls, settings: TradingSettings) -> AllocationStrategy:
        """Return the allocation with `tilt`, `rate`, `band` and `max_gross` of `settings.trading`."""
        return cls(tilt=settings.tilt, rate=settings.rate, band=settings.band, gross=settings.max_gross)

    def weights(self, view: StrategyView) -> Vector:
        """Compute the weights after this bar's trade, `[symbols]`; see `next_weights`."""
        return next_weights(view.scores, view.current, self)


def rank_scores(scores: npt.ArrayLike) -> Vector:
    """Rank the finite scores with mean 0 and standard deviation 1; NaN stays NaN.

    Scores and ranks are `[symbols]`. Ties share their mean rank, so the order of the symbols has no
    influence.
    """
    values = np.asarray(scores, dtype=np.float64)
    finite = np.isfinite(values)
    if finite.all():
        return _standardised_ranks(values)
    ranks = np.full(values.shape, np.nan)
    ranks[finite] = _standardised_ranks(values[finite])
    return ranks


def _standardised_ranks(values: Vector) -> Vector:
    """Rank `values` as `rank_scores` does, given that all are finite."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    if np.all(ordered[1:] != ordered[:-1]):
        ranks = np.empty(len(values))
        ranks[order] = _ranks_without_ties(len(values))
        return ranks
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2
    position = mean_rank[inverse] - (len(values) - 1) / 2
    spread = position.std()
    return np.asarray(position / spread) if spread > 0 else np.zeros(len(values))


@lru_cache(maxsize=1_024)
def _ranks_without_ties(count: int) -> Vector:
    """Return the standardised ranks of `count` distinct values in ascending order."""
    position = np.arange(count) - (count - 1) / 2
    ranks = np.asarray(position / position.std() if count > 1 else position, np.float64)
    ranks.flags.writeable = False
    return ranks


def target_weights(scores: npt.ArrayLike, current: Vector, allocation: AllocationStrategy) -> Vector:
    """Compute the weights that `scores` lead to, without regard to trading costs.

    Weights are `[symbols]`, none negative, and sum to `allocation.gross`. A symbol without a score keeps its
    current weight, and the others share what is left.
    """
    ranks = rank_scores(scores)
    scored = np.isfinite(ranks)
    weights = np.asarray(current, dtype=np.float64).copy()
    available = allocation.gross - weights[~scored].sum()
    if not scored.any() or available <= 0:
        return weights
    tilted = np.maximum(1.0 + allocation.tilt * ranks[scored], 0.0)
    weights[scored] = available * tilted / tilted.sum()
    return weights


def next_weights(scores: npt.ArrayLike, current: Vector, allocation: AllocationStrategy) -> Vector:
    """Compute the weights to hold after this bar's trade.

    The trade goes part of the way to the target, and only where the distance is outside the band. From cash
    (all `current` are zero) it goes the whole way at once, because there is no position whose change could be
    smoothed.

    Parameters
    ----------
    scores : array_like of float, shape [symbols]
        Scores of one bar; a symbol with NaN keeps its current weight.
    current : ndarray of float64, shape [symbols]
        Weights before the trade, as shares of equity.
    allocation : AllocationStrategy
        Tilt, rate, band and gross.

    Returns
    -------
    ndarray of float64, shape [symbols]
        Weights after the trade, none negative.

    References
    ----------
    Gârleanu and Pedersen 2013, "Dynamic Trading with Predictable Returns and Transaction Costs".

    Examples
    --------
    >>> import numpy as np
    >>> next_weights([0.3, 0.1, 0.2], np.zeros(3), AllocationStrategy(tilt=0.4)).round(3).tolist()
    [0.497, 0.17, 0.333]
    """
    current = np.asarray(current, dtype=np.float64)
    target = target_weights(scores, current, allocation)
    if not current.any():
        return target
    distance = target - current
    equal = allocation.gross / len(current)
    traded = np.where(np.abs(distance) >= allocation.band * equal, allocation.rate * distance, 0.0)
    return np.maximum(current + traded, 0.0)
