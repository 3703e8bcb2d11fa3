"""A simulated portfolio: returns of scores traded at the obtainable price, net of cost."""

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
class SimulatedPortfolio:
    """Net return, one-way turnover and cost of each bar, as shares of capital.

    Parameters
    ----------
    net_returns, turnover, cost : ndarray of float64, shape [timestamps]
        One value a bar.
    """

    net_returns: Vector
    turnover: Vector
    cost: Vector


def simulate_portfolio(
    scores: FloatMatrix,
    close: FloatMatrix,
    policy: AllocationPolicy,
    costs: CostModel,
    limits: BookLimits | None = None,
) -> SimulatedPortfolio:
    """Trade the scores of each bar at the next bar's close.

    The first trade, from cash, costs nothing: it is the same for every portfolio to compare with.

    Parameters
    ----------
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores made at each bar's close; NaN where a symbol has none.
    close : ndarray of float64, shape [timestamps, symbols]
        Adjusted closes; NaN where a symbol did not trade.
    policy : AllocationPolicy
        Parameters of the allocation.
    costs : CostModel
        Trading costs.
    limits : BookLimits, optional
        Limits of the book.

    Returns
    -------
    Book
        Net return, turnover and cost of each bar.

    Examples
    --------
    >>> import numpy as np
    >>> close = np.array([[10.0, 10.0], [10.0, 10.0], [11.0, 10.0]])
    >>> book = simulate_portfolio(np.zeros((3, 2)), close, AllocationPolicy(), CostModel())
    >>> book.net_returns.round(4).tolist()
    [0.0, 0.0, 0.05]
    """
    book, priced, returns = (
        ModelledBook(policy, costs, limits or BookLimits()),
        np.isfinite(close),
        bar_returns(close),
    )
    steps = [book.step(*row) for row in zip(returns, scores, priced, strict=True)]
    return SimulatedPortfolio(
        net_returns=np.array([step.net_return for step in steps]),
        turnover=np.array([step.turnover for step in steps]),
        cost=np.array([step.cost for step in steps]),
    )


def equal_weight_scores(close: FloatMatrix) -> FloatMatrix:
    """Return equal scores for all symbols with a price: the benchmark of an active return."""
    return np.where(np.isfinite(close), 0.0, np.nan)
