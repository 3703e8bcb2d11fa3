"""Layers of evidence, each of which may ask for a rollback: sequential tests, for one rollout or a thousand.

Cheapest first: `recomputation` and `guard` are measurements, `behaviour` compares the live model with its
card, `history` does the same on bars from between its training and the rollout, `cost` tests turnover, `ic`
and `pnl` are paired with the champion on the same bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rollouts.evidence.expected_ranges import MAX_CORRELATION, ExpectedRange, ExpectedRanges
from rollouts.evidence.sequential import BURN_IN_VALUES, BettingTest, MixedTest, PairedTest, clip_scaled
from rollouts.rollout_policy_settings import RolloutPolicy

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BEHAVIOUR_WEIGHTS = {
    "ic": 0.6, "disagreeing": 0.1, "agreeing": 0.02, "unstable": 0.1, "frozen": 0.06,
    "spread_wide": 0.06, "spread_narrow": 0.06,
}  # fmt: skip
COST_WEIGHTS = {"turnover": 0.5, "relative": 0.5}
TURNOVER_HALF_LIFE = 5.0
"""Half-life of the weight of a bar's turnover, in bars."""
MIN_TURNOVER_MULTIPLE = 2.0
"""Multiple of the calmest fold's turnover below which turnover relative to the champion does not count."""
MAX_TURNOVER_RATIO_MULTIPLE = 2.5
"""Multiple of the cards' ratio of turnovers that the live ratio may reach."""
CEILING_SCALE = 1 / 3
"""Unit of excess turnover: a third of the ceiling, which is the busiest fold's own turnover."""
RATIO_SCALE = 0.4
"""Unit of the ratio of turnovers, in natural logarithms."""
AGREEMENT_SCALE = 0.25
"""Unit of the rank correlation with the champion, in the test that it is positive."""
CLEARING_ALPHA = 0.002
"""Probability of wrongly clearing a faulty model, which only shortens a stage."""
CLEARED_TURNOVER_MULTIPLE = 2.25
"""Multiple of the cards' ratio of turnovers below which a model is cleared of five-fold turnover."""


class PairedMeasurements(NamedTuple):
    """Measurements of both versions at one bar, each float64 `[rollouts]`.

    Unknown values are NaN.

    `fault` is 1 where a guard found a fault. `ic`, `net_return`, `turnover`, `persistence` and `dispersion`
    are the challenger's, as in `rollouts.evidence.live_performance.BarPerformance`.
    """

    recomputation: npt.ArrayLike
    fault: npt.ArrayLike
    ic: npt.ArrayLike
    champion_ic: npt.ArrayLike
    net_return: npt.ArrayLike
    champion_net_return: npt.ArrayLike
    turnover: npt.ArrayLike
    champion_turnover: npt.ArrayLike
    persistence: npt.ArrayLike
    dispersion: npt.ArrayLike
    agreement: npt.ArrayLike


class BehaviourTest:
    """Test of IC, ranking and spread of scores against the card's walk-forward ranges.

    `expectations` holds one element for each rollout.
    """

    def __init__(self, expectations: Sequence[ExpectedRanges]) -> None:
        self.test = MixedTest(BEHAVIOUR_WEIGHTS, len(expectations))
        self._floor = np.array([one.ic_floor for one in expectations])
        self._scale = np.array([one.ic_scale for one in expectations])
        self._agreement = _Limits.of([one.agreement for one in expectations])
        self._persistence = _Limits.of([one.persistence for one in expectations])
        self._dispersion = _Limits.of([one.dispersion for one in expectations])

    def observe(self, one: PairedMeasurements) -> None:
        """Add one bar."""
        bet = self.test.parts
        bet["ic"].bet(clip_scaled((self._floor - np.asarray(one.ic)) / self._scale))
        bounded = np.clip(np.asarray(one.persistence), -MAX_CORRELATION, MAX_CORRELATION)
        persistence = np.arctanh(bounded)
        for low, high, values, allowed in (
            ("disagreeing", "agreeing", one.agreement, self._agreement),
            ("unstable", "frozen", persistence, self._persistence),
            ("spread_narrow", "spread_wide", one.dispersion, self._dispersion),
        ):
            bet[low].bet(allowed.below(values))
            bet[high].bet(allowed.above(values))


class CostTest:
    """Test of turnover against the card's ceiling and against the champion's turnover at the same time.

    Turnover rises with volatility, so five times the usual turnover in a calm month stays within a ceiling
    set in crises; the champion's turnover shows which kind of month it is. With few symbols a book trades in
    lumps and rests in between, so both series are smoothed over a week; and a challenger that trades no more
    than its card says is not accused because the champion rests.

    The card's measure is the busiest twentieth of its bars, not a multiple of the mean alone: the bound of
    a bet (`rollouts.evidence.sequential`) holds where the next value is not positive on average after *any*
    past. Where two of few symbols change places, a book trades for weeks, each bar a share of the remaining
    distance (`alphaloop.allocation`). Such a burst is many times the mean, is honest, and each of its bars
    predicts the next.
    """

    def __init__(self, expectations: Sequence[ExpectedRanges]) -> None:
        rollouts = len(expectations)
        self.test = MixedTest(COST_WEIGHTS, rollouts)
        self.turnover_cleared = BettingTest(rollouts)
        self._ceiling = np.array([one.turnover_ceiling for one in expectations])
        mean = np.array([one.turnover_mean for one in expectations])
        self._busy = np.fmax(MIN_TURNOVER_MULTIPLE * mean, [one.turnover_high for one in expectations])
        self._ratio = np.array([one.turnover_ratio for one in expectations])
        self._smooth = np.zeros((2, rollouts))
        self._count = np.zeros(rollouts)

    def observe(self, turnover: npt.ArrayLike, champion: npt.ArrayLike) -> None:
        """Add one bar's one-way turnover of both books, as shares of capital."""
        ours, theirs = np.asarray(turnover, dtype=np.float64), np.asarray(champion, dtype=np.float64)
        over = (ours - self._ceiling) / (self._ceiling * CEILING_SCALE)
        self.test.parts["turnover"].bet(clip_scaled(over))
        relative, own = self._smoothed(ours, theirs)
        excess = np.minimum(relative - np.log(MAX_TURNOVER_RATIO_MULTIPLE), own)
        self.test.parts["relative"].bet(clip_scaled(excess / RATIO_SCALE))
        self.turnover_cleared.bet(clip_scaled((np.log(CLEARED_TURNOVER_MULTIPLE) - relative) / RATIO_SCALE))

    def _smoothed(self, ours: Vector, theirs: Vector) -> tuple[Vector, Vector]:
        """Return log turnover relative to the champion (by the cards) and to a busy bar on the card.

        NaN for the first bars, and where a bar's turnover is unknown.
        """
        there = np.isfinite(ours) & np.isfinite(theirs)
        decay = np.where(there, 0.5 ** (1.0 / TURNOVER_HALF_LIFE), 1.0)
        weight = 1.0 - 0.5 ** (1.0 / TURNOVER_HALF_LIFE)
        for row, values in enumerate((ours, theirs)):
            self._smooth[row] = decay * self._smooth[row] + weight * np.where(there, values, 0.0)
        self._count += there
        known = np.where(there & (self._count > BURN_IN_VALUES), 1.0, np.nan)
        level = self._smooth / (1.0 - 0.5 ** (np.maximum(self._count, 1.0) / TURNOVER_HALF_LIFE))
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.log(level[0] / level[1] / self._ratio)
            own = np.log(level[0] / self._busy)
        return relative * known, own * known


class EvidenceLayers:
    """All layers of evidence, for as many rollouts as there are `expectations`.

    Parameters
    ----------
    policy : RolloutPolicy
        Error budget of each layer.
    expectations : sequence of ExpectedRanges
        One for each rollout.
    tolerance : float
        Largest difference allowed between logged and recomputed scores.
    """

    def __init__(
        self, policy: RolloutPolicy, expectations: Sequence[ExpectedRanges], tolerance: float
    ) -> None:
        rollouts = len(expectations)
        self.policy, self.tolerance = policy, tolerance
        self._ic_scale = np.array([one.ic_scale for one in expectations])
        self.behaviour = BehaviourTest(expectations)
        self.history = BehaviourTest(expectations)
        self.cost = CostTest(expectations)
        self.ic = PairedTest(rollouts)
        self.pnl = PairedTest(rollouts, margin=policy.non_inferiority)
        self.skill = BettingTest(rollouts)
        self.rank_agreement = BettingTest(rollouts)
        self.worst_recomputation = np.zeros(rollouts)
        self.faults = np.zeros(rollouts, dtype=np.bool_)

    def observe(self, one: PairedMeasurements) -> None:
        """Add one live bar."""
        measured = np.asarray(one.recomputation, dtype=np.float64)
        # NaN is outside the tolerance, and np.maximum keeps it.
        self.worst_recomputation = np.maximum(self.worst_recomputation, measured)
        self.faults |= np.asarray(one.fault, dtype=np.float64) > 0
        self.behaviour.observe(one)
        self.skill.bet(clip_scaled(np.asarray(one.ic) / self._ic_scale))
        self.rank_agreement.bet(clip_scaled(np.asarray(one.agreement) / AGREEMENT_SCALE))
        self.ic.observe(np.asarray(one.ic) - np.asarray(one.champion_ic))
        self.pnl.observe(np.asarray(one.net_return) - np.asarray(one.champion_net_return))
        self.cost.observe(one.turnover, one.champion_turnover)

    def observe_past(self, one: PairedMeasurements) -> None:
        """Add one bar from between training and rollout, which counts against the challenger only."""
        self.history.observe(one)

    def against(self) -> dict[str, Flags]:
        """Flag the layers that ask for a rollback now, bool `[rollouts]` each, cheapest first."""
        alpha = self.policy.rollback_alpha
        return {
            "recomputation": ~(self.worst_recomputation <= self.tolerance),
            "guard": self.faults,
            "history": self.history.test.exceeds(alpha("history")),
            "behaviour": self.behaviour.test.exceeds(alpha("behaviour")),
            "cost": self.cost.test.exceeds(alpha("cost")),
            "ic": self.ic.worse.exceeds(alpha("ic")),
            "pnl": self.pnl.worse.exceeds(alpha("pnl")),
        }

    def favour(self) -> dict[str, Flags]:
        """Flag the outcomes that ask for a promotion now.

        An improvement in one outcome is not enough while the mean of the other is negative.
        """
        alpha = self.policy.promotion_alpha
        return {
            "ic": self.ic.better.exceeds(alpha) & (self.pnl.mean >= 0),
            "pnl": self.pnl.better.exceeds(alpha) & (self.ic.mean >= 0),
        }

    def not_worse(self) -> Flags:
        """Test the policy's non-inferiority rule; False where the policy has none."""
        if not self.policy.non_inferiority:
            return np.zeros(self.faults.shape, dtype=np.bool_)
        return self.pnl.not_worse.exceeds(self.policy.false_promotion)

    def cleared(self) -> dict[str, Flags]:
        """Flag the faults that are ruled out: no skill, five-fold turnover, inverted ranks."""
        return {
            "no_skill": self.skill.exceeds(CLEARING_ALPHA),
            "turnover": self.cost.turnover_cleared.exceeds(CLEARING_ALPHA),
            "inverted_ranks": self.rank_agreement.exceeds(CLEARING_ALPHA),
        }


class _Limits:
    """Ranges of several rollouts as arrays.

    Elements are NaN where a card says nothing, so that nothing is bet.
    """

    def __init__(self, low: Vector, high: Vector, scale: Vector) -> None:
        self._low, self._high, self._scale = low, high, scale

    @classmethod
    def of(cls, ranges: Sequence[ExpectedRange | None]) -> _Limits:
        rows = [(one.low, one.high, one.scale) if one else (np.nan,) * 3 for one in ranges]
        return cls(*np.array(rows, dtype=np.float64).T)

    def below(self, values: npt.ArrayLike) -> Vector:
        return clip_scaled((self._low - np.asarray(values, dtype=np.float64)) / self._scale)

    def above(self, values: npt.ArrayLike) -> Vector:
        return clip_scaled((np.asarray(values, dtype=np.float64) - self._high) / self._scale)
