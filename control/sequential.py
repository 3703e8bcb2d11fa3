"""Sequential tests that may be looked at after every bar: e-processes by betting.

A test of "the mean is not positive" is a gambler who bets on it being positive. Each bar's value is
scaled and clipped into [-1, 1]; wealth grows by `1 + stake × value`. While the hypothesis holds, no
stake chosen beforehand can make wealth grow on average, so wealth is a non-negative supermartingale
and exceeds `1 / alpha` at *any* time with probability at most `alpha` (Ville 1939). We spread the
wealth over a grid of constant stakes (Waudby-Smith and Ramdas 2024, "Estimating means of bounded
random variables by betting", JRSS B 86(1)).

The scale is predictable: it comes from earlier values alone, so a crash cannot widen its own ruler,
and clipping bounds what one bar can prove. What is tested is therefore the mean of the scaled and
clipped value, which under a symmetric distribution has the sign of the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

STAKES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
BURN_IN = 5
"""Values that only set the first scale; nothing is bet on them."""


WIDTH = 1.5
"""Scales beyond which a value is clipped: wide enough to see a difference, narrow enough to bound a crash."""


def clipped(value: float) -> float:
    """`value`, in units of its scale, as a share of `WIDTH`, clipped into [-1, 1]."""
    return float(np.clip(value / WIDTH, -1.0, 1.0))


@dataclass(slots=True)
class PredictableScale:
    """A running root mean square of past values, exponentially weighted, known before the next one."""

    half_life: float = 21.0
    _square: float = 0.0
    _count: int = 0

    def clip(self, value: float) -> float | None:
        """`value` in units of the scale, `clipped`; None while there is no scale yet."""
        ready = self._count >= BURN_IN and self._square > 0
        scaled = None
        if ready:
            scaled = clipped(value / math.sqrt(self._square))
        self._learn(value)
        return scaled

    def _learn(self, value: float) -> None:
        self._count += 1
        decay = 0.5 ** (1.0 / self.half_life)
        weight = max(1.0 - decay, 1.0 / self._count)
        self._square += weight * (value * value - self._square)


@dataclass(slots=True)
class BettingTest:
    """Evidence that the mean of a sequence in [-1, 1] is positive, valid at every moment.

    `log_wealth` is the natural logarithm of the e-value.
    """

    _log_wealth_by_stake: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(STAKES)))
    bets: int = 0

    def bet(self, value: float) -> None:
        """Take in one value of [-1, 1]; raises `ValueError` outside it."""
        if not -1.0 <= value <= 1.0:
            raise ValueError(f"a bet is on a value in [-1, 1], got {value}")
        self._log_wealth_by_stake += np.log1p(STAKES * value)
        self.bets += 1

    @property
    def log_wealth(self) -> float:
        peak = float(self._log_wealth_by_stake.max())
        return peak + math.log(float(np.mean(np.exp(self._log_wealth_by_stake - peak))))

    @property
    def log10_e(self) -> float:
        """The decimal logarithm of the e-value: 2 means odds of 100 to 1."""
        return self.log_wealth / math.log(10)

    def exceeds(self, alpha: float) -> bool:
        """Whether the e-value is beyond `1 / alpha`."""
        return self.log_wealth >= -math.log(alpha)


@dataclass(slots=True)
class PairedTest:
    """Two one-sided tests on paired differences (challenger less champion): better, and worse."""

    scale: PredictableScale = field(default_factory=PredictableScale)
    better: BettingTest = field(default_factory=BettingTest)
    worse: BettingTest = field(default_factory=BettingTest)
    total: float = 0.0
    count: int = 0

    def observe(self, difference: float) -> None:
        """Take in one bar's difference; a bar without one (NaN) is no evidence."""
        if not math.isfinite(difference):
            return
        self.total += difference
        self.count += 1
        scaled = self.scale.clip(difference)
        if scaled is not None:
            self.better.bet(scaled)
            self.worse.bet(-scaled)

    @property
    def mean(self) -> float:
        """The mean difference so far; NaN before the first."""
        return self.total / self.count if self.count else float("nan")
