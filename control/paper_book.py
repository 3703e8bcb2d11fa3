"""A paper book: what a version would have earned with all of the capital, net of cost.

Champion and challenger each get one, fed with the scores that the server logged, so the two are
compared on the same bars under the allocation and costs that real orders use.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy, drift_weights, next_weights, turnover
from alphaloop.costs import CostModel

Vector = npt.NDArray[np.float64]


@dataclass(slots=True)
class BookStep:
    """One bar of a paper book: its return net of cost, and its one-way turnover."""

    net_return: float
    turnover: float


@dataclass(slots=True)
class PaperBook:
    """Trades each bar's scores at the next bar's close.

    The first trade, from cash to the first target, costs nothing: moving capital to a model is a
    one-off that says nothing about the model.
    """

    policy: AllocationPolicy
    costs: CostModel
    _weights: Vector | None = None
    _pending: Vector | None = field(default=None)

    def step(self, returns: Vector, scores: Vector) -> BookStep:
        """Book one bar: `returns` since the last close and the `scores` made at this one, `[symbols]`."""
        gain, traded, cost = 0.0, 0.0, 0.0
        if self._weights is not None:
            self._weights, gain = drift_weights(self._weights, returns)
        if self._pending is not None:
            before = self._weights if self._weights is not None else np.zeros(len(scores))
            after = next_weights(self._pending, before, self.policy)
            if self._weights is not None:
                traded = turnover(before, after)
                cost = float(self.costs.of_turnover(traded))
            self._weights = after
        self._pending = np.asarray(scores, dtype=np.float64)
        return BookStep(net_return=gain - cost, turnover=traded)
