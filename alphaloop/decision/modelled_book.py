"""A modelled book: net return of trading scores at the next obtainable price.

The promotion gate and the evidence of rollouts use it. It holds weights in float64 where the trading engine
holds units in Decimal, and follows the same rules: limits, halts (a symbol without a price keeps its weight,
its pending trade waits, and its next price brings the whole return), drawdown, ruin. Where the strategy
fails, the book keeps its weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.strategy import Strategy, StrategyView, strategy_weights
from alphaloop.decision.weights import drift_weights, turnover
from alphaloop.errors import StrategyError

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BookStep:
    """One bar of a modelled book, as shares of its capital; `net_return` is after `cost`."""

    net_return: float
    turnover: float
    cost: float


@dataclass(slots=True)
class ModelledBook:
    """A book that trades each bar's scores at the next bar's price.

    A trade out of cash costs nothing: moving capital to a model is a one-off that says nothing about the
    model. A book without equity is closed and trades no more.

    Parameters
    ----------
    strategy : Strategy
        Turns scores into weights.
    costs : CostModel
        Trading costs.
    symbols : tuple of str
        Symbols of the book.
    limits : BookLimits
        Limits of the book.
    equity : float
        Equity at the start, as a share of capital.
    failure : str
        First failure of the strategy, in words; empty while there is none.

    Examples
    --------
    >>> from datetime import UTC
    >>> from alphaloop.allocation import AllocationStrategy
    >>> book = ModelledBook(AllocationStrategy(), CostModel(), ("AAPL", "IBM"), BookLimits(max_weight=1.0))
    >>> days = [datetime(2020, 3, day, 20, tzinfo=UTC) for day in (11, 12, 13)]
    >>> gains = zip((0.0, 0.0, 0.1), days)
    >>> [book.step(np.array([gain, 0.0]), np.zeros(2), day).net_return for gain, day in gains]
    [0.0, 0.0, 0.05]
    """

    strategy: Strategy
    costs: CostModel
    symbols: tuple[str, ...]
    limits: BookLimits = field(default_factory=BookLimits)
    equity: float = 1.0
    failure: str = ""
    _peak: float = 1.0
    _weights: Vector | None = None
    _waiting: Vector | None = None
    _decided: tuple[datetime, Vector, Flags, Flags | None] | None = None

    @property
    def is_ruined(self) -> bool:
        """True if no equity is left, so that the book is closed."""
        return self.equity <= 0

    def step(
        self,
        returns: Vector,
        scores: Vector,
        as_of: datetime,
        priced: Flags | None = None,
        outside: Flags | None = None,
    ) -> BookStep:
        """Book one bar.

        Parameters
        ----------
        returns : ndarray of float64, shape [symbols]
            Returns since each symbol's last known price; NaN counts as 0.
        scores : ndarray of float64, shape [symbols]
            Scores made at this bar's close, to be traded at the next price.
        as_of : datetime
            This bar's close.
        priced : ndarray of bool, shape [symbols], optional
            The symbols that have a price in this bar; by default all.
        outside : ndarray of bool, shape [symbols], optional
            The symbols that are not members of the universe at this bar, and so are sold; by default none.

        Returns
        -------
        BookStep
            Net return, turnover and cost of the bar.
        """
        priced = np.ones(len(returns), dtype=bool) if priced is None else priced
        if self._weights is None or self._waiting is None:
            self._weights, self._waiting = np.zeros(len(returns)), np.zeros(len(returns))
        if self.is_ruined:
            return BookStep(0.0, 0.0, 0.0)
        weights, gain = drift_weights(self._weights, returns)
        # A pending trade is a number of units, so its weight moves with the price like that of a holding.
        self._waiting = drift_weights(self._waiting, returns, gain)[0]
        lost = 1.0 - self.equity * (1.0 + gain) / self._peak
        after = self._traded(weights, priced, lost >= self.limits.max_drawdown)
        traded = turnover(weights, after) if weights.any() else 0.0
        cost = float(self.costs.of_turnover(traded))
        self._weights = after
        self.equity *= 1.0 + gain - cost
        self._peak = max(self._peak, self.equity)
        self._decided = as_of, np.asarray(scores, dtype=np.float64), priced, outside
        return BookStep(gain - cost, traded, cost)

    def _traded(self, weights: Vector, priced: Flags, reduce_only: bool) -> Vector:
        """Return the weights after the trades that were pending or decided at the last bar."""
        if self._decided is None or self._waiting is None:
            return weights
        as_of, scores, decidable, outside = self._decided
        wanted = self.limits.clip(self._wanted(as_of, scores, weights, outside), weights, reduce_only)
        change = np.where(self._waiting != 0, self._waiting, np.where(decidable, wanted - weights, 0.0))
        self._waiting = np.where(priced, 0.0, change)
        return np.maximum(weights + np.where(priced, change, 0.0), 0.0)

    def _wanted(self, as_of: datetime, scores: Vector, weights: Vector, outside: Flags | None) -> Vector:
        view = StrategyView(as_of, self.symbols, scores, weights)
        try:
            return strategy_weights(self.strategy, view, outside)
        except StrategyError as error:
            self.failure = self.failure or str(error)
            return weights if outside is None else np.where(outside, 0.0, weights)
