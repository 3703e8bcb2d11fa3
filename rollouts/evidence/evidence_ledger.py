"""Ledger of the evidence for and against a challenger: its verdict is rollback, promotion or neither.

It is derived data: the same prediction log and bars give the same ledger, so a restarted controller rebuilds
it and continues. The tests themselves are in `rollouts.evidence.layers`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.strategy import Strategy
from alphaloop.statistics.information_coefficient import information_coefficient
from rollouts.evidence.expected_ranges import ExpectedRanges
from rollouts.evidence.layers import EvidenceLayers, PairedMeasurements
from rollouts.evidence.live_performance import BarPerformance, PerformanceTracker
from rollouts.evidence.sequential import BettingTest, MixedTest
from rollouts.rollout_policy_settings import RolloutPolicy

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observation:
    """One bar of champion and challenger, on the same symbols.

    Parameters
    ----------
    as_of : datetime
        Close of the bar, in UTC.
    symbols : tuple of str
        The symbols.
    close : ndarray of float64, shape (symbols,)
        Adjusted close.
    champion, challenger : ndarray of float64, shape (symbols,)
        Scores logged at this bar.
    recomputation : float
        Largest difference between the challenger's logged scores and those of the registered file on
        backfilled features.
    errors : int
        Route keys for which the challenger failed at this bar.
    fault : str
        Finding of a guard; empty if there is none.
    outside : ndarray of bool, shape (symbols,), optional
        Symbols that are not members of the universe at this bar; None for a universe that never changes.
    """

    as_of: datetime
    symbols: tuple[str, ...]
    close: Vector
    champion: Vector
    challenger: Vector
    recomputation: float
    errors: int = 0
    fault: str = ""
    outside: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True, slots=True)
class EvidenceVerdict:
    """Verdict of the evidence.

    Parameters
    ----------
    action : str or None
        `rollback`, `promote`, or None while nothing is decided.
    layer : str
        Layer that decided; empty if none did.
    reason : str
        Reason in words.
    """

    action: str | None = None
    layer: str = ""
    reason: str = ""


@dataclass(slots=True)
class EvidenceLedger:
    """All evidence on one challenger so far.

    Parameters
    ----------
    policy : RolloutPolicy
        Error budget of the layers.
    expectation : ExpectedRanges
        Ranges that the challenger's card promises.
    strategy : Strategy
        Turns scores into the weights of the paper books; the one that trades.
    costs : CostModel
        Trading costs of the paper books.
    tolerance : float
        Largest difference allowed between logged and recomputed scores.
    limits : BookLimits, optional
        Weight limits of the paper books.

    Notes
    -----
    `series` holds each test's log10 e-value by date, `bars` counts the bars of the rollout and `past_bars`
    those from before it.
    """

    policy: RolloutPolicy
    expectation: ExpectedRanges
    strategy: Strategy
    costs: CostModel
    tolerance: float
    bars: int = 0
    past_bars: int = 0
    symbols: int = 20
    limits: BookLimits = field(default_factory=BookLimits)
    series: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    layers: EvidenceLayers = field(init=False)
    _seen: list[datetime] = field(default_factory=list)
    _gauges: tuple[PerformanceTracker, ...] = ()
    _errors: int = 0
    _fault: str = ""
    _ic: list[float] = field(default_factory=list)
    _past_ic: list[float] = field(default_factory=list)
    _turnover: list[float] = field(default_factory=list)
    _agreement: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layers = EvidenceLayers(self.policy, [self.expectation], self.tolerance)

    def observe_past(self, past: Iterable[Observation]) -> None:
        """Add bars from between the challenger's training and the rollout, oldest first.

        These bars may be the reason why the challenger was chosen, so they count against it only.
        """
        gauge: PerformanceTracker | None = None
        history = self.layers.history.test
        points: list[tuple[str, float]] = []
        for seen in past:
            gauge = gauge or self._gauge(seen.symbols)
            reading = gauge.read(seen.as_of, seen.close, seen.challenger, seen.outside)
            agreement = information_coefficient(seen.challenger, seen.champion)
            self.layers.observe_past(_comparison(reading, None, agreement, 0.0, fault=False))
            self._past_ic.append(reading.ic)
            self.past_bars += 1
            points.append((seen.as_of.date().isoformat(), round(float(history.log10_e[0]), 4)))
        if history.exceeds(self.policy.rollback_alpha("history"))[0]:
            # Drawn only where this layer decided: otherwise a year of it would crowd out the rollout.
            self.series["history"] = points

    def observe(self, seen: Observation) -> None:
        """Add one bar of the rollout."""
        self.bars += 1
        self.symbols = len(seen.close)
        self._errors += seen.errors
        self._fault = self._fault or seen.fault
        self._seen.append(seen.as_of)
        self._gauges = self._gauges or (self._gauge(seen.symbols), self._gauge(seen.symbols))
        ours, theirs = (
            gauge.read(seen.as_of, seen.close, scores, seen.outside)
            for gauge, scores in zip(self._gauges, (seen.champion, seen.challenger), strict=True)
        )
        agreement = information_coefficient(seen.challenger, seen.champion)
        fault = bool(seen.errors or seen.fault)
        self.layers.observe(_comparison(theirs, ours, agreement, seen.recomputation, fault=fault))
        self._ic.append(theirs.ic)
        self._turnover.append(theirs.turnover)
        self._agreement.append(agreement)
        self._note(seen.as_of)

    @property
    def last(self) -> datetime | None:
        """Last observed bar; None before the first."""
        return self._seen[-1] if self._seen else None

    @property
    def errors(self) -> int:
        """Number of the challenger's failed answers."""
        return self._errors

    def bars_since(self, moment: str | None) -> int:
        """Count the bars observed after `moment` (an ISO timestamp; None counts all)."""
        if moment is None:
            return self.bars
        start = datetime.fromisoformat(moment)
        return sum(1 for as_of in self._seen if as_of > start)

    def verdict(self) -> EvidenceVerdict:
        """Return the verdict so far; rollback takes precedence, cheapest layer first.

        Returns
        -------
        EvidenceVerdict
            `action` is None while no layer has decided.
        """
        for layer, flags in self.layers.against().items():
            if flags[0]:
                return EvidenceVerdict(
                    "rollback", layer.replace("history", "behaviour"), self._accusation(layer)
                )
        for layer, flags in self.layers.favour().items():
            if flags[0]:
                return EvidenceVerdict("promote", layer, self._praise(layer))
        return EvidenceVerdict()

    def measured_verdict(self) -> EvidenceVerdict:
        """Return the verdict of the measured layers alone, recomputation and guards."""
        verdict = self.verdict()
        return verdict if verdict.layer in ("recomputation", "guard") else EvidenceVerdict()

    def non_inferiority(self) -> EvidenceVerdict:
        """Return the verdict of a promotion by the non-inferiority rule."""
        odds = self.layers.pnl.not_worse.log10_e[0]
        margin = self.policy.non_inferiority * 1e4
        return EvidenceVerdict(
            "promote", "pnl", f"not worse than the champion by {margin:g} bps a bar (odds 10^{odds:.1f})"
        )

    def summary(self) -> dict[str, float | int]:
        """Return the figures behind the verdict, with e-values as decimal logarithms."""
        tests, expected = self.layers, self.expectation
        return {
            "bars": self.bars,
            "recomputation_max_abs_diff": float(tests.worst_recomputation[0]),
            "errors": self._errors,
            "live_ic": _mean(self._ic),
            "card_ic_floor": expected.ic_floor,
            "past_bars": self.past_bars,
            **({"past_ic": _mean(self._past_ic)} if self.past_bars else {}),
            "live_turnover": _mean(self._turnover),
            "card_turnover_ceiling": expected.turnover_ceiling,
            "agreement": _mean(self._agreement),
            "ic_difference": float(tests.ic.mean[0]),
            "net_return_difference": float(tests.pnl.mean[0]),
            "history_log10_e": float(tests.history.test.log10_e[0]),
            **{f"{name}_log10_e": value for name, value in self._log10_e().items()},
        }

    def bounds(self) -> dict[str, float]:
        """Return the log10 e-value at which each test decides."""
        promote = -math.log10(self.policy.promotion_alpha)
        return {
            **{layer: -math.log10(self.policy.rollback_alpha(layer)) for layer in self.policy.SHARES},
            "ic_better": promote,
            "pnl_better": promote,
        }

    def _difference(self) -> str:
        worst = float(self.layers.worst_recomputation[0])
        if not math.isfinite(worst):
            return (
                "the registered model on backfilled features has a score where the log has none, or none "
                "where the log has one"
            )
        return (
            f"logged scores differ by {worst:.3g} from the registered model on backfilled features "
            f"(tolerance {self.tolerance:g})"
        )

    def _gauge(self, symbols: tuple[str, ...]) -> PerformanceTracker:
        return PerformanceTracker(self.strategy, self.costs, symbols, self.policy.ic_horizon, self.limits)

    def _accusation(self, layer: str) -> str:
        tests, expected = self.layers, self.expectation
        floor = f"against at least {expected.ic_floor:+.3f} on its card"
        words = {
            "recomputation": self._difference(),
            "guard": f"{self._errors} requests failed or gave NaN scores" if self._errors else self._fault,
            "history": f"IC {_mean(self._past_ic):+.3f} on {self.past_bars} bars from after its training "
            f"{floor}",
            "behaviour": self._misbehaviour(floor),
            "cost": f"turnover {_mean(self._turnover):.3f} a bar against at most "
            f"{expected.turnover_ceiling:.3f} on its card",
            "ic": f"IC {tests.ic.mean[0]:+.3f} a bar against the champion",
            "pnl": f"net return {tests.pnl.mean[0] * 1e4:+.2f} bps a bar against the champion",
        }[layer]
        if layer not in self.policy.SHARES:
            return words
        deciding: dict[str, BettingTest | MixedTest] = {
            "history": tests.history.test,
            "behaviour": tests.behaviour.test,
            "cost": tests.cost.test,
            "ic": tests.ic.worse,
            "pnl": tests.pnl.worse,
        }
        odds = deciding[layer].log10_e[0]
        return f"{words} (odds 10^{odds:.1f}, alpha {self.policy.rollback_alpha(layer):g})"

    def _misbehaviour(self, floor: str) -> str:
        part = self.layers.behaviour.test.strongest_part()
        if part == "ic":
            return f"live IC {_mean(self._ic):+.3f} {floor}"
        if part in ("agreeing", "disagreeing"):
            return f"its ranks correlate {_mean(self._agreement):+.2f} with the champion's, outside its folds"
        return {
            "unstable": "its ranking changes faster than in any fold",
            "frozen": "its ranking stands still as in no fold",
            "spread_wide": "its scores spread wider than in any fold",
            "spread_narrow": "its scores spread less than in any fold",
        }[part]

    def _praise(self, layer: str) -> str:
        test = {"ic": self.layers.ic, "pnl": self.layers.pnl}[layer]
        words = {
            "ic": f"IC {test.mean[0]:+.3f} a bar",
            "pnl": f"net return {test.mean[0] * 1e4:+.2f} bps a bar",
        }[layer]
        odds, alpha = test.better.log10_e[0], self.policy.promotion_alpha
        return f"{words} better than the champion (odds 10^{odds:.1f}, alpha {alpha:g})"

    def _log10_e(self) -> dict[str, float]:
        tests = self.layers
        shown: dict[str, BettingTest | MixedTest] = {
            "behaviour": tests.behaviour.test,
            "cost": tests.cost.test,
            "ic_worse": tests.ic.worse,
            "pnl_worse": tests.pnl.worse,
            "ic_better": tests.ic.better,
            "pnl_better": tests.pnl.better,
        }
        return {name: float(test.log10_e[0]) for name, test in shown.items()}

    def _note(self, as_of: datetime) -> None:
        for name, value in self._log10_e().items():
            shown = name.replace("_worse", "")
            self.series.setdefault(shown, []).append((as_of.date().isoformat(), round(value, 4)))


def _comparison(
    challenger: BarPerformance,
    champion: BarPerformance | None,
    agreement: float,
    recomputation: float,
    *,
    fault: bool,
) -> PairedMeasurements:
    nothing = float("nan")
    return PairedMeasurements(
        recomputation=recomputation,
        fault=float(fault),
        ic=challenger.ic,
        champion_ic=champion.ic if champion else nothing,
        net_return=challenger.net_return,
        champion_net_return=champion.net_return if champion else nothing,
        turnover=challenger.turnover,
        champion_turnover=champion.turnover if champion else nothing,
        persistence=challenger.persistence,
        dispersion=challenger.dispersion,
        agreement=agreement,
    )


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
