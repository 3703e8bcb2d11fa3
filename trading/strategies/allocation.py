"""The allocation strategy, the same in backtest, paper and live trading."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy, next_weights

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AllocationStrategy:
    """Long-only tilts around equal weight, by `alphaloop.allocation`.

    Parameters
    ----------
    policy : AllocationPolicy
        Parameters of the allocation.

    Examples
    --------
    >>> strategy = AllocationStrategy(AllocationPolicy(tilt=0.4))
    >>> strategy.weights([0.3, 0.1, 0.2], np.zeros(3)).round(3).tolist()
    [0.497, 0.17, 0.333]
    """

    policy: AllocationPolicy = field(default_factory=AllocationPolicy)

    def weights(self, scores: npt.ArrayLike, current: Vector) -> Vector:
        """Compute the weights after this bar's trade, `[symbols]`, from scores and current weights."""
        return next_weights(scores, current, self.policy)
