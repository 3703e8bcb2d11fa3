"""Sequential tests that may be looked at after every bar: e-processes by betting.

A test of "the mean is not positive, whatever came before" is a gambler who bets on it being positive. Each
bar's value is scaled and clipped into [-1, 1]; wealth grows by `1 + stake × value`. While the hypothesis
holds, no stake chosen beforehand can make wealth grow on average, so wealth is a non-negative
supermartingale and exceeds `1 / alpha` at *any* time with probability at most `alpha` (Ville 1939). We
spread the wealth over a grid of constant stakes (Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting", JRSS B 86(1)). That the mean over all bars is not positive would not
do: where values come in runs, the start of a run foretells the rest.

The scale is predictable: it comes from earlier values alone, so a crash cannot widen its own ruler,
and clipping bounds what one bar can prove. What is tested is therefore the mean of the scaled and
clipped value, which under a symmetric distribution has the sign of the mean.

Every test carries an axis of rollouts: one for a rollout that is under way, a thousand for a simulation.
Nothing is computed across that axis, so a simulation runs the very tests that decide.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

STAKES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
BURN_IN = 5
"""Values that only set the first scale; nothing is bet on them."""

WIDTH = 1.5
"""Scales beyond which a value is clipped: wide enough to see a difference, narrow enough to bound a crash."""

HALF_LIFE = 21.0
"""Bars after which a value weighs half in the scale."""


def clipped(values: npt.ArrayLike) -> Vector:
    """`values`, in units of their scale, as a share of `WIDTH`, clipped into [-1, 1]; NaN stays NaN."""
    return np.clip(np.asarray(values, dtype=np.float64) / WIDTH, -1.0, 1.0)


class PredictableScale:
    """A running root mean square of past values, exponentially weighted, known before the next one.

    `rollouts` is the length of the axis that values come with.
    """

    def __init__(self, rollouts: int = 1, half_life: float = HALF_LIFE) -> None:
        self._decay = 0.5 ** (1.0 / half_life)
        self._square = np.zeros(rollouts)
        self._count = np.zeros(rollouts)

    def clip(self, values: npt.ArrayLike) -> Vector:
        """`values` `[rollouts]` in units of the scale, `clipped`; NaN while there is none, and for NaN."""
        given = np.broadcast_to(np.asarray(values, dtype=np.float64), self._square.shape)
        ready = (self._count >= BURN_IN) & (self._square > 0)
        scaled = np.full(given.shape, np.nan)
        np.divide(given, np.sqrt(self._square), out=scaled, where=ready)
        self._learn(given)
        return clipped(scaled)

    @property
    def value(self) -> Vector:
        """The scale for the next value, `[rollouts]`; 0 before the first."""
        return np.sqrt(self._square)

    def _learn(self, values: Vector) -> None:
        there = np.isfinite(values)
        self._count += there
        weight = np.maximum(1.0 - self._decay, 1.0 / np.maximum(self._count, 1.0))
        learned = self._square + weight * (values * values - self._square)
        self._square = np.where(there, learned, self._square)


class BettingTest:
    """Evidence that the mean of a sequence in [-1, 1] is positive, valid at every moment.

    `log_wealth` is the natural logarithm of the e-value, `[rollouts]`; `bets` counts what was bet on.
    """

    def __init__(self, rollouts: int = 1) -> None:
        self._log_wealth_by_stake = np.zeros((rollouts, len(STAKES)))
        self.bets = np.zeros(rollouts, dtype=np.int64)

    def bet(self, values: npt.ArrayLike) -> None:
        """Take in one value of [-1, 1] for each rollout; NaN is no bet.

        Raises `ValueError` for a value outside, which would break the guarantee.
        """
        given = np.broadcast_to(np.asarray(values, dtype=np.float64), self.bets.shape)
        if (np.abs(given) > 1.0).any():
            raise ValueError(f"a bet is on a value in [-1, 1], got {given[np.abs(given) > 1.0][0]}")
        there = np.isfinite(given)
        gains = np.log1p(STAKES * np.where(there, given, 0.0)[:, None])
        self._log_wealth_by_stake += gains
        self.bets += there

    @property
    def log_wealth(self) -> Vector:
        peak = self._log_wealth_by_stake.max(axis=1)
        shares = np.exp(self._log_wealth_by_stake - peak[:, None])
        return np.asarray(peak + np.log(shares.sum(axis=1) / len(STAKES)))

    @property
    def log10_e(self) -> Vector:
        """The decimal logarithm of the e-value: 2 means odds of 100 to 1."""
        return self.log_wealth / math.log(10)

    def exceeds(self, alpha: float) -> npt.NDArray[np.bool_]:
        """Whether the e-value is beyond `1 / alpha`."""
        return np.asarray(self.log_wealth >= -math.log(alpha))


class MixedTest:
    """Several tests as one: its e-value is the weighted mean of theirs, which is an e-value again.

    So a fault need not show in each of them, and their shares need not be cut out of the error budget.
    """

    def __init__(self, weights: dict[str, float], rollouts: int = 1) -> None:
        total = sum(weights.values())
        self._weights = {name: weight / total for name, weight in weights.items()}
        self.parts = {name: BettingTest(rollouts) for name in weights}

    @property
    def log_wealth(self) -> Vector:
        parts = np.stack(
            [test.log_wealth + math.log(self._weights[name]) for name, test in self.parts.items()]
        )
        peak = parts.max(axis=0)
        return np.asarray(peak + np.log(np.exp(parts - peak).sum(axis=0)))

    @property
    def log10_e(self) -> Vector:
        """The decimal logarithm of the e-value."""
        return self.log_wealth / math.log(10)

    def exceeds(self, alpha: float) -> npt.NDArray[np.bool_]:
        """Whether the e-value is beyond `1 / alpha`."""
        return np.asarray(self.log_wealth >= -math.log(alpha))

    def loudest(self, rollout: int = 0) -> str:
        """The part that says most."""
        return max(self.parts, key=lambda name: float(self.parts[name].log_wealth[rollout]))


class PairedTest:
    """One-sided tests on paired differences (challenger less champion): better, worse, and not worse.

    `not_worse` is evidence that the mean difference is above `-margin`, in the unit of the differences.
    """

    def __init__(self, rollouts: int = 1, margin: float = 0.0) -> None:
        self.scale = PredictableScale(rollouts)
        # Of differences plus the margin: clipped before it is added, those would lean to one side, and a
        # challenger that loses all of the margin would be found not worse too often.
        self._above = PredictableScale(rollouts)
        self.better = BettingTest(rollouts)
        self.worse = BettingTest(rollouts)
        self.not_worse = BettingTest(rollouts)
        self._margin = margin
        self._total = np.zeros(rollouts)
        self._count = np.zeros(rollouts)

    def observe(self, differences: npt.ArrayLike) -> None:
        """Take in one bar's differences `[rollouts]`; a bar without one (NaN) is no evidence."""
        given = np.broadcast_to(np.asarray(differences, dtype=np.float64), self._total.shape)
        there = np.isfinite(given)
        self._total += np.where(there, given, 0.0)
        self._count += there
        scaled = self.scale.clip(given)
        self.better.bet(scaled)
        self.worse.bet(-scaled)
        if self._margin:
            self.not_worse.bet(self._above.clip(given + self._margin))

    @property
    def mean(self) -> Vector:
        """The mean difference so far, `[rollouts]`; NaN before the first."""
        mean = np.full(self._total.shape, np.nan)
        np.divide(self._total, self._count, out=mean, where=self._count > 0)
        return mean
