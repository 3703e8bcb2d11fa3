"""Power analysis: bars that the evidence needs to find a stated fault, computed beforehand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.matured_labels import BARS_TO_MATURE
from rollouts.evidence.expected_ranges import AGREEMENT_MARGIN, ExpectedRanges
from rollouts.evidence.layers import CLEARING_ALPHA, BehaviourTest, CostTest, PairedMeasurements
from rollouts.evidence.sequential import PairedTest
from rollouts.rollout_policy_settings import RolloutPolicy

Vector = npt.NDArray[np.float64]

ROLLOUTS = 2_000
MIN_FAULT_POWER = 0.995
"""Share of faulty challengers that must be found before the first weight is left."""
MAX_SEARCH_BARS = 504
NO_SKILL_IC_SPREAD = 1.4
"""Spread of a no-skill IC as a multiple of `1 / √(symbols - 1)`, because returns move in sectors."""
TURNOVER_SPREAD = 0.35
DEGREES_OF_FREEDOM = 4
SEED = 20080915


@dataclass(frozen=True, slots=True)
class BarRequirements:
    """Bars that the first stages need to rule out faults.

    A field is None where no number suffices.

    Parameters
    ----------
    no_skill : int or None
        Bars until the live IC of a challenger without skill would contradict its card.
    turnover : int or None
        Bars until an honest challenger is usually cleared of five-fold turnover.
    inverted_ranks : bool
        Whether the card says that the challenger always ranks like the champion, so that inverted ranks
        would show.
    longest : int
        Longest wait that the policy allows, in bars.

    Examples
    --------
    >>> waits = BarRequirements(no_skill=40, turnover=None, inverted_ranks=False, longest=126)
    >>> waits.hold({"no_skill": False, "turnover": False, "inverted_ranks": False})
    40
    """

    no_skill: int | None
    turnover: int | None
    inverted_ranks: bool
    longest: int

    def hold(self, cleared: Mapping[str, bool]) -> int:
        """Return the bars before which the first weight is not left, given the faults `cleared` so far.

        No wait is made for a card that promises so little skill that its absence would not show.
        """
        awaited = {
            "no_skill": self.no_skill if self.no_skill and self.no_skill <= self.longest else 0,
            "turnover": 0 if self.turnover is None else self.longest,
            "inverted_ranks": self.longest if self.inverted_ranks else 0,
        }
        return max((bars for fault, bars in awaited.items() if not cleared[fault]), default=0)


def bars_required(expectation: ExpectedRanges, policy: RolloutPolicy, symbols: int) -> BarRequirements:
    """Compute the bars that the first stages need, from the card's ranges and the number of symbols.

    Parameters
    ----------
    expectation : ExpectedRanges
        Ranges that the challenger's card promises.
    policy : RolloutPolicy
        Error budget, horizon and longest wait.
    symbols : int
        Number of symbols of the universe.

    Returns
    -------
    BarRequirements
    """
    return BarRequirements(
        no_skill=_no_skill(expectation, policy, symbols),
        turnover=_turnover(expectation),
        inverted_ranks=expectation.agreement is not None and expectation.agreement.low + AGREEMENT_MARGIN > 0,
        longest=policy.hold_bars,
    )


def bars_to_find(effect: float, alpha: float, longest: int, rollouts: int = 400) -> Vector:
    """Simulate the bars until a paired test finds a challenger that is worse by `effect`.

    The noise is t-distributed with four degrees of freedom. The seed is fixed, so results are reproducible.

    Parameters
    ----------
    effect : float
        Difference a bar, in standard deviations of the paired difference.
    alpha : float
        Probability of a false alarm that the test may spend.
    longest : int
        Longest duration, in bars.
    rollouts : int
        Number of simulated rollouts.

    Returns
    -------
    ndarray of float64, shape (rollouts,)
        Bars until the test decides; infinite where it does not within `longest` bars.

    Examples
    --------
    >>> import numpy as np
    >>> needed = bars_to_find(effect=1.0, alpha=0.01, longest=100, rollouts=50)
    >>> bool(np.median(needed) < 30)
    True
    """
    rng = np.random.default_rng(SEED)
    spread = math.sqrt(DEGREES_OF_FREEDOM / (DEGREES_OF_FREEDOM - 2))
    paired = PairedTest(rollouts)

    def step() -> npt.NDArray[np.bool_]:
        paired.observe(rng.standard_t(DEGREES_OF_FREEDOM, rollouts) / spread - effect)
        return paired.worse.exceeds(alpha)

    return _first(step, rollouts, longest)


def _no_skill(expectation: ExpectedRanges, policy: RolloutPolicy, symbols: int) -> int | None:
    spread = max(expectation.ic_scale, NO_SKILL_IC_SPREAD / math.sqrt(max(symbols - 1, 1)))
    if expectation.ic_floor < spread / 10:
        return None  # the card promises too little skill for its absence to show
    rng, alpha = np.random.default_rng(SEED), policy.rollback_alpha("behaviour")
    behaviour = BehaviourTest([expectation] * ROLLOUTS)

    def step() -> npt.NDArray[np.bool_]:
        behaviour.observe(_only_ic(np.clip(rng.normal(0.0, spread, ROLLOUTS), -1.0, 1.0)))
        return behaviour.test.exceeds(alpha)

    return _bars(_first(step, ROLLOUTS, MAX_SEARCH_BARS), every=policy.ic_horizon)


def _turnover(expectation: ExpectedRanges) -> int | None:
    if not math.isfinite(expectation.turnover_ratio):
        return None
    rng = np.random.default_rng(SEED)
    cost = CostTest([expectation] * ROLLOUTS)
    champion = np.full(ROLLOUTS, expectation.turnover_mean / expectation.turnover_ratio)

    def step() -> npt.NDArray[np.bool_]:
        unrest = np.exp(rng.normal(0.0, TURNOVER_SPREAD, ROLLOUTS))
        cost.observe(expectation.turnover_mean * unrest, champion)
        return cost.turnover_cleared.exceeds(CLEARING_ALPHA)

    return _bars(_first(step, ROLLOUTS, MAX_SEARCH_BARS), 0.5)


def _first(step: Callable[[], npt.NDArray[np.bool_]], rollouts: int, longest: int) -> Vector:
    decided_at = np.full(rollouts, np.inf)
    for bar in range(1, longest + 1):
        decided_at[np.isinf(decided_at) & step()] = bar
        if np.isfinite(decided_at).all():
            break
    return decided_at


def _bars(decided_at: Vector, share: float = MIN_FAULT_POWER, every: int = 1) -> int | None:
    """Return the bars in which `share` of rollouts decide, with one outcome `every` so many bars."""
    needed = float(np.quantile(decided_at, share, method="higher"))
    return int(needed) * every + BARS_TO_MATURE if math.isfinite(needed) else None


def _only_ic(values: Vector) -> PairedMeasurements:
    nothing = np.nan
    return PairedMeasurements(
        recomputation=0.0, fault=0.0, ic=values, champion_ic=nothing, net_return=nothing,
        champion_net_return=nothing, turnover=nothing, champion_turnover=nothing, persistence=nothing,
        dispersion=nothing, agreement=nothing,
    )  # fmt: skip
