"""A modelled book: what scores would have earned, traded at the obtainable price, net of cost."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy
from alphaloop.bars import FloatMatrix
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.modelled_book import ModelledBook
from alphaloop.decision.returns import bar_returns

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Book:
    """Net return, one-way turnover and cost of each bar, all `[timestamps]`, as shares of capital."""

    net_returns: Vector
    turnover: Vector
    cost: Vector


def simulate(
    scores: FloatMatrix,
    close: FloatMatrix,
    policy: AllocationPolicy,
    costs: CostModel,
    limits: BookLimits | None = None,
) -> Book:
    """Trade the scores of each bar at the next bar's close, within `limits`.

    `scores` and adjusted `close` are `[timestamps, symbols]`. The first trade, from cash, costs
    nothing: it is the same for every book that this one may be compared with.
    """
    book, priced, returns = (
        ModelledBook(policy, costs, limits or BookLimits()),
        np.isfinite(close),
        bar_returns(close),
    )
    steps = [book.step(*row) for row in zip(returns, scores, priced, strict=True)]
    return Book(
        net_returns=np.array([step.net_return for step in steps]),
        turnover=np.array([step.turnover for step in steps]),
        cost=np.array([step.cost for step in steps]),
    )


def equal_weight_scores(close: FloatMatrix) -> FloatMatrix:
    """Scores that hold every symbol with a price alike: the benchmark of an active return."""
    return np.where(np.isfinite(close), 0.0, np.nan)
