"""A modelled book: what scores would have earned, traded at the obtainable price, net of cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy, drift_weights, next_weights, turnover
from alphaloop.costs import CostModel
from alphaloop.market import FloatMatrix

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Book:
    """Net return, one-way turnover and cost of each bar, all `[timestamps]`, as shares of capital."""

    net_returns: Vector
    turnover: Vector
    cost: Vector


def simulate(scores: FloatMatrix, close: FloatMatrix, policy: AllocationPolicy, costs: CostModel) -> Book:
    """Trade the scores of each bar at the next bar's close.

    `scores` and adjusted `close` are `[timestamps, symbols]`. The first trade, from cash, costs
    nothing: it is the same for every book that this one may be compared with.
    """
    bars, symbols = scores.shape
    returns = np.zeros((bars, symbols))
    returns[1:] = close[1:] / close[:-1] - 1.0
    net, traded = np.zeros(bars), np.zeros(bars)
    weights = np.zeros(symbols)
    for bar in range(1, bars):
        weights, net[bar] = drift_weights(weights, returns[bar])
        after = next_weights(scores[bar - 1], weights, policy)
        if weights.any():
            traded[bar] = turnover(weights, after)
        weights = after
    cost = costs.of_turnover(traded)
    return Book(net_returns=net - cost, turnover=traded, cost=cost)


def equal_weight_scores(close: FloatMatrix) -> FloatMatrix:
    """Scores that hold every symbol with a price alike: the benchmark of an active return."""
    return np.where(np.isfinite(close), 0.0, np.nan)
