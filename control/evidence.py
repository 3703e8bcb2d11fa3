"""The evidence for and against a challenger, in layers, recomputed from what was logged.

Layers, cheapest first: `recomputation` (the logged scores against the registered model on backfilled
features), `guard` (errors and NaN), `behaviour` (the live IC against the card's own walk-forward),
`cost` (turnover against the card), `ic` and `pnl` (paired with the champion on the same bars).

A ledger holds no truth of its own: fed the same prediction log and bars it is the same ledger, so a
controller that was killed makes another and goes on.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy
from alphaloop.costs import CostModel
from control.labels import BARS_TO_MATURE, information_coefficient, simple_returns
from control.paper_book import PaperBook
from control.policies import RolloutPolicy
from control.sequential import BettingTest, PairedTest, clipped

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the challenger's card promises: a floor for its IC, and a ceiling for its turnover a bar.

    `ic_scale` is the standard deviation of its IC from bar to bar: the ruler of the distance to the floor.
    """

    ic_floor: float
    ic_scale: float
    turnover_ceiling: float


@dataclass(frozen=True, slots=True)
class Observation:
    """One bar of both versions, on the same symbols.

    `close` is the adjusted close, and the scores are those logged at it; all float64 `[symbols]`.
    `recomputation` is the largest difference between the challenger's logged scores and those of the
    registered file on backfilled features; `errors` counts its failed answers at this bar.
    """

    as_of: datetime
    close: Vector
    champion: Vector
    challenger: Vector
    recomputation: float
    errors: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence says: `rollback`, `promote`, or nothing yet; which layer, and why."""

    action: str | None = None
    layer: str = ""
    reason: str = ""


@dataclass(slots=True)
class Ledger:
    """All evidence on one challenger so far."""

    policy: RolloutPolicy
    expectation: Expectation
    allocation: AllocationPolicy
    costs: CostModel
    tolerance: float
    bars: int = 0
    series: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    _seen: list[datetime] = field(default_factory=list)
    _recent: deque[Observation] = field(default_factory=lambda: deque(maxlen=BARS_TO_MATURE + 1))
    _ic: PairedTest = field(default_factory=PairedTest)
    _pnl: PairedTest = field(default_factory=PairedTest)
    _behaviour: BettingTest = field(default_factory=BettingTest)
    _cost: BettingTest = field(default_factory=BettingTest)
    _books: tuple[PaperBook, PaperBook] | None = None
    _worst_recomputation: float = 0.0
    _errors: int = 0
    _challenger_ic: list[float] = field(default_factory=list)
    _challenger_turnover: list[float] = field(default_factory=list)

    def observe(self, seen: Observation) -> None:
        """Take in one bar."""
        self.bars += 1
        self._errors += seen.errors
        if math.isnan(seen.recomputation) or seen.recomputation > self._worst_recomputation:
            self._worst_recomputation = seen.recomputation
        self._recent.append(seen)
        self._seen.append(seen.as_of)
        self._observe_books(seen)
        self._observe_ic()
        self._note(seen.as_of)

    def bars_since(self, moment: str | None) -> int:
        """Bars observed after `moment` (an ISO timestamp; None counts them all)."""
        if moment is None:
            return self.bars
        start = datetime.fromisoformat(moment)
        return sum(1 for as_of in self._seen if as_of > start)

    def verdict(self) -> Verdict:
        """What the evidence so far asks for. Rollback is looked for first, cheapest layer first."""
        return self._measured_fault() or self._tested_fault() or self._earned_promotion() or Verdict()

    def summary(self) -> dict[str, float | int]:
        """The figures behind the verdict, for the journal and for people. E-values as log10."""
        return {
            "bars": self.bars,
            "recomputation_max_abs_diff": self._worst_recomputation,
            "errors": self._errors,
            "live_ic": _mean(self._challenger_ic),
            "card_ic_floor": self.expectation.ic_floor,
            "live_turnover": _mean(self._challenger_turnover),
            "card_turnover_ceiling": self.expectation.turnover_ceiling,
            "ic_difference": self._ic.mean,
            "net_return_difference": self._pnl.mean,
            "behaviour_log10_e": self._behaviour.log10_e,
            "cost_log10_e": self._cost.log10_e,
            "ic_worse_log10_e": self._ic.worse.log10_e,
            "pnl_worse_log10_e": self._pnl.worse.log10_e,
            "ic_better_log10_e": self._ic.better.log10_e,
            "pnl_better_log10_e": self._pnl.better.log10_e,
        }

    def bounds(self) -> dict[str, float]:
        """The log10 e-value at which each test decides."""
        promote = -math.log10(self.policy.promotion_alpha)
        return {
            **{layer: -math.log10(self.policy.rollback_alpha(layer)) for layer in self.policy.SHARES},
            "ic_better": promote,
            "pnl_better": promote,
        }

    def _measured_fault(self) -> Verdict | None:
        worst = self._worst_recomputation
        if not worst <= self.tolerance:
            return Verdict(
                "rollback",
                "recomputation",
                f"logged scores differ by {worst:.3g} from the registered model on backfilled features "
                f"(tolerance {self.tolerance:g})",
            )
        if self._errors:
            return Verdict("rollback", "guard", f"{self._errors} requests failed or gave NaN scores")
        return None

    def _tested_fault(self) -> Verdict | None:
        expected = self.expectation
        tests = {
            "behaviour": (
                self._behaviour,
                f"live IC {_mean(self._challenger_ic):+.3f} against at least {expected.ic_floor:+.3f} on "
                "its card",
            ),
            "cost": (
                self._cost,
                f"turnover {_mean(self._challenger_turnover):.3f} a bar against at most "
                f"{expected.turnover_ceiling:.3f} on its card",
            ),
            "ic": (self._ic.worse, f"IC {self._ic.mean:+.3f} a bar against the champion"),
            "pnl": (
                self._pnl.worse,
                f"net return {self._pnl.mean * 1e4:+.2f} bps a bar against the champion",
            ),
        }
        for layer, (test, words) in tests.items():
            alpha = self.policy.rollback_alpha(layer)
            if test.exceeds(alpha):
                return Verdict("rollback", layer, f"{words} (odds 10^{test.log10_e:.1f}, alpha {alpha:g})")
        return None

    def _earned_promotion(self) -> Verdict | None:
        alpha = self.policy.promotion_alpha
        for layer, paired, other, words in (
            ("ic", self._ic, self._pnl, f"IC {self._ic.mean:+.3f} a bar"),
            ("pnl", self._pnl, self._ic, f"net return {self._pnl.mean * 1e4:+.2f} bps a bar"),
        ):
            # Better by one outcome is not enough while the other points the wrong way.
            if paired.better.exceeds(alpha) and other.mean >= 0:
                odds = paired.better.log10_e
                return Verdict(
                    "promote",
                    layer,
                    f"{words} better than the champion (odds 10^{odds:.1f}, alpha {alpha:g})",
                )
        return None

    def _observe_books(self, seen: Observation) -> None:
        if self._books is None:
            self._books = (PaperBook(self.allocation, self.costs), PaperBook(self.allocation, self.costs))
            returns = np.zeros(len(seen.close))
        else:
            returns = simple_returns(self._recent[-2].close, seen.close)
        champion, challenger = self._books
        ours = champion.step(returns, seen.champion)
        theirs = challenger.step(returns, seen.challenger)
        if self.bars <= BARS_TO_MATURE:
            return  # nothing was held yet
        self._pnl.observe(theirs.net_return - ours.net_return)
        self._challenger_turnover.append(theirs.turnover)
        ceiling = self.expectation.turnover_ceiling
        self._cost.bet(clipped((theirs.turnover - ceiling) / ceiling))

    def _observe_ic(self) -> None:
        if len(self._recent) <= BARS_TO_MATURE:
            return
        scored, entry, paid = self._recent
        outcomes = simple_returns(entry.close, paid.close)
        challenger = information_coefficient(scored.challenger, outcomes)
        champion = information_coefficient(scored.champion, outcomes)
        self._ic.observe(challenger - champion)
        if math.isfinite(challenger):
            self._challenger_ic.append(challenger)
            self._behaviour.bet(clipped((self.expectation.ic_floor - challenger) / self.expectation.ic_scale))

    def _note(self, as_of: datetime) -> None:
        shown = {
            "behaviour": self._behaviour,
            "cost": self._cost,
            "ic": self._ic.worse,
            "pnl": self._pnl.worse,
            "ic_better": self._ic.better,
            "pnl_better": self._pnl.better,
        }
        for name, test in shown.items():
            self.series.setdefault(name, []).append((as_of.date().isoformat(), round(test.log10_e, 4)))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
