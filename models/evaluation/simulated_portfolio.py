"""A simulated portfolio: returns of scores traded at the obtainable price, net of cost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from alphaloop.bars import FloatMatrix, Timestamps, to_datetime
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.modelled_book import ModelledBook
from alphaloop.decision.returns import bar_returns
from alphaloop.decision.strategy import Strategy
from alphaloop.errors import StrategyError

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


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
    strategy: Strategy,
    costs: CostModel,
    limits: BookLimits | None = None,
    *,
    timestamps: Timestamps,
    symbols: tuple[str, ...],
    outside: Flags | None = None,
) -> SimulatedPortfolio:
    """Trade the scores of each bar at the next bar's close.

    The first trade, from cash, costs nothing: it is the same for every portfolio to compare with.

    Parameters
    ----------
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores made at each bar's close; NaN where a symbol has none.
    close : ndarray of float64, shape [timestamps, symbols]
        Adjusted closes; NaN where a symbol did not trade.
    strategy : Strategy
        Turns scores into weights.
    costs : CostModel
        Trading costs.
    limits : BookLimits, optional
        Limits of the book.
    timestamps : ndarray of datetime64[ns], shape [timestamps]
        The bars.
    symbols : tuple of str
        The symbols.
    outside : ndarray of bool, shape [timestamps, symbols], optional
        Bars at which a symbol is not a member of the universe; it is sold at the next one.

    Returns
    -------
    SimulatedPortfolio
        Net return, turnover and cost of each bar.

    Raises
    ------
    StrategyError
        Where the strategy fails on any bar: its figures would be those of another strategy.

    Examples
    --------
    >>> import numpy as np
    >>> from alphaloop.allocation import AllocationStrategy
    >>> days = np.array(["2020-01-01", "2020-01-02", "2020-01-03"], dtype="datetime64[ns]")
    >>> close = np.array([[10.0, 10.0], [10.0, 10.0], [11.0, 10.0]])
    >>> book = simulate_portfolio(
    ...     np.zeros((3, 2)),
    ...     close,
    ...     AllocationStrategy(),
    ...     CostModel(),
    ...     timestamps=days,
    ...     symbols=("AAPL", "IBM"),
    ... )
    >>> book.net_returns.round(4).tolist()
    [0.0, 0.0, 0.05]
    """
    book = ModelledBook(strategy, costs, symbols, limits or BookLimits())
    moments = map(to_datetime, timestamps)
    masks = repeat(None, len(close)) if outside is None else outside
    rows = zip(bar_returns(close), scores, moments, np.isfinite(close), masks, strict=True)
    steps = [book.step(*row) for row in rows]
    if book.failure:
        raise StrategyError(book.failure)
    return SimulatedPortfolio(
        net_returns=np.array([step.net_return for step in steps]),
        turnover=np.array([step.turnover for step in steps]),
        cost=np.array([step.cost for step in steps]),
    )


def equal_weight_scores(close: FloatMatrix) -> FloatMatrix:
    """Return equal scores for all symbols with a price: the benchmark of an active return."""
    return np.where(np.isfinite(close), 0.0, np.nan)
