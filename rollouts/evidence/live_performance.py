"""Live performance of one version, measured alike for champion, challenger and simulation."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.strategy import Strategy
from alphaloop.statistics.information_coefficient import information_coefficient
from alphaloop.statistics.matured_labels import simple_returns
from rollouts.evidence.paper_book import PaperBook

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


class BarPerformance(NamedTuple):
    """Performance of one version at one bar.

    Values that are not known yet are NaN.

    `ic` is the information coefficient of the scores that matured at this bar; `net_return` and `turnover`
    are those of the version's paper book. `persistence` is the rank correlation of its scores with those of
    the bar before, `dispersion` the natural logarithm of their standard deviation.
    """

    net_return: float
    turnover: float
    ic: float
    persistence: float
    dispersion: float


@dataclass(slots=True)
class PerformanceTracker:
    """Tracker of one version's performance, bar by bar, if `strategy` trades its scores.

    `horizon` is the number of bars of the IC's outcome, from the first obtainable price; the IC is measured
    every `horizon` bars, so that outcomes do not overlap.
    """

    strategy: Strategy
    costs: CostModel
    symbols: tuple[str, ...]
    horizon: int = 1
    limits: BookLimits = field(default_factory=BookLimits)
    _book: PaperBook | None = None
    _known: Vector | None = None
    _bars: int = 0
    _recent: deque[tuple[Vector, Vector]] = field(default_factory=deque)

    def read(
        self, as_of: datetime, close: Vector, scores: Vector, outside: Flags | None = None
    ) -> BarPerformance:
        """Add the bar of `as_of`: adjusted `close` and the `scores` made at it, float64 `[symbols]`.

        `outside` `[symbols]` are the symbols that are not members of the universe.
        """
        self._bars += 1
        before = self._recent[-1][1] if self._recent else None
        if self._book is None or self._known is None:
            self._book = PaperBook(self.strategy, self.costs, self.symbols, self.limits)
            self._known = close
        returns = simple_returns(self._known, close)
        step = self._book.step(returns, scores, as_of, np.isfinite(close), outside)
        self._known = np.where(np.isfinite(close), close, self._known)
        self._recent.append((close, scores))
        if len(self._recent) > self.horizon + 2:
            self._recent.popleft()
        held = self._bars > 2
        return BarPerformance(
            net_return=step.net_return if held else float("nan"),
            turnover=step.turnover if held else float("nan"),
            ic=self._matured(),
            persistence=float("nan") if before is None else information_coefficient(scores, before),
            dispersion=_log_spread(scores),
        )

    def _matured(self) -> float:
        """Return the IC of the scores whose outcome ends at this bar.

        Returns NaN where none is due.
        """
        if len(self._recent) < self.horizon + 2 or (self._bars - 2) % self.horizon:
            return float("nan")
        scored, entry, paid = self._recent[0][1], self._recent[1][0], self._recent[-1][0]
        return information_coefficient(scored, simple_returns(entry, paid))


def _log_spread(scores: Vector) -> float:
    finite = scores[np.isfinite(scores)]
    spread = float(finite.std()) if len(finite) > 1 else 0.0
    return float(np.log(spread)) if spread > 0 else float("-inf") if len(finite) > 1 else float("nan")
