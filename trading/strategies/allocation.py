"""The strategy: from scores to the weights wanted. It cannot tell backtest, paper and live apart."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy, next_weights

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AllocationStrategy:
    """Long-only tilts around equal weight, by the ground's allocation."""

    policy: AllocationPolicy = field(default_factory=AllocationPolicy)

    def weights(self, scores: npt.ArrayLike, current: Vector) -> Vector:
        """Weights wanted after this bar's trade, `[symbols]`, from scores and current weights."""
        return next_weights(scores, current, self.policy)
