"""Anytime-valid sequential tests by betting (e-processes), which may be read after every bar.

A test of "the mean is not positive, whatever came before" is a gambler who bets on it being positive. Each
bar's value is scaled and clipped into [-1, 1]; wealth grows by `1 + stake × value`. While the hypothesis
holds, no stake chosen beforehand can make wealth grow on average, so wealth is a non-negative
supermartingale and exceeds `1 / alpha` at *any* time with probability at most `alpha` (Ville 1939). We
spread the wealth over a grid of constant stakes (Waudby-Smith and Ramdas 2024, "Estimating means of
bounded random variables by betting", JRSS B 86(1)). The weaker hypothesis "the mean over all bars is not
positive" would not be enough: where values come in runs, the start of a run predicts the rest.

The scale is predictable: it is computed from earlier values alone, so a crash cannot widen the scale by
which it is measured, and clipping bounds the evidence of one bar. The test therefore concerns the mean of
the scaled and clipped value, which under a symmetric distribution has the sign of the mean.

Every test carries an axis of rollouts: length one for a live rollout, a thousand for a simulation. Nothing
is computed across that axis, so a simulation runs the same tests that decide real rollouts.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

STAKES = np.array([0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
BURN_IN_VALUES = 5
"""Number of first values that only set the scale; no bet is made on them."""

CLIP_WIDTH = 1.5
"""Value, in units of the scale, at which clipping begins: wide enough to show a difference, narrow enough to
bound a crash."""

SCALE_HALF_LIFE = 21.0
"""Half-life of a value's weight in the scale, in bars."""


def clip_scaled(values: npt.ArrayLike) -> Vector:
    """Divide scaled `values` by `CLIP_WIDTH` and clip them into [-1, 1].

    NaN stays NaN.

    Examples
    --------
    >>> clip_scaled([0.75, -6.0]).tolist()
    [0.5, -1.0]
    """
    return np.clip(np.asarray(values, dtype=np.float64) / CLIP_WIDTH, -1.0, 1.0)


class PredictableScale:
    """Exponentially weighted root mean square of past values, known before the next value.

    Parameters
    ----------
    rollouts : int
        Length of the axis of the values.
    half_life : float
        Half-life of a value's weight, in bars.
    """

    def __init__(self, rollouts: int = 1, half_life: float = SCALE_HALF_LIFE) -> None:
        self._decay = 0.5 ** (1.0 / half_life)
        self._square = np.zeros(rollouts)
        self._count = np.zeros(rollouts)

    def clip(self, values: npt.ArrayLike) -> Vector:
        """Scale and clip `values` `[rollouts]`, then learn from them.

        Returns NaN before the first scale.
        """
        sample = np.broadcast_to(np.asarray(values, dtype=np.float64), self._square.shape)
        ready = (self._count >= BURN_IN_VALUES) & (self._square > 0)
        scaled = np.full(sample.shape, np.nan)
        np.divide(sample, np.sqrt(self._square), out=scaled, where=ready)
        self._learn(sample)
        return clip_scaled(scaled)

    @property
    def value(self) -> Vector:
        """Scale for the next value, float64 `[rollouts]`; 0 before the first."""
        return np.sqrt(self._square)

    def _learn(self, values: Vector) -> None:
        finite = np.isfinite(values)
        self._count += finite
        weight = np.maximum(1.0 - self._decay, 1.0 / np.maximum(self._count, 1.0))
        learned = self._square + weight * (values * values - self._square)
        self._square = np.where(finite, learned, self._square)


class BettingTest:
    """Anytime-valid test that the mean of a sequence in [-1, 1] is positive.

    The probability that the e-value ever exceeds `1 / alpha` is at most `alpha` while the conditional mean
    of the next value is not positive.

    Parameters
    ----------
    rollouts : int
        Number of parallel sequences.

    Attributes
    ----------
    bets : ndarray of int64, shape (rollouts,)
        Number of values so far, without NaN.

    References
    ----------
    .. [1] Ville, J. (1939). Étude critique de la notion de collectif.
    .. [2] Waudby-Smith, I. and Ramdas, A. (2024). Estimating means of bounded random variables by betting.
       JRSS B 86(1).

    Examples
    --------
    >>> test = BettingTest()
    >>> for _ in range(50):
    ...     test.bet(0.5)
    >>> test.exceeds(0.01).tolist(), int(test.bets[0])
    ([True], 50)
    """

    def __init__(self, rollouts: int = 1) -> None:
        self._log_wealth_by_stake = np.zeros((rollouts, len(STAKES)))
        self.bets = np.zeros(rollouts, dtype=np.int64)

    def bet(self, values: npt.ArrayLike) -> None:
        """Bet on one value in [-1, 1] for each rollout, float64 `[rollouts]`.

        NaN is no bet.

        Raises `ValueError` for a value outside [-1, 1], which would break the guarantee.
        """
        sample = np.broadcast_to(np.asarray(values, dtype=np.float64), self.bets.shape)
        if (np.abs(sample) > 1.0).any():
            raise ValueError(f"a bet is on a value in [-1, 1], got {sample[np.abs(sample) > 1.0][0]}")
        finite = np.isfinite(sample)
        gains = np.log1p(STAKES * np.where(finite, sample, 0.0)[:, None])
        self._log_wealth_by_stake += gains
        self.bets += finite

    @property
    def log_wealth(self) -> Vector:
        """Natural logarithm of the e-value, float64 `[rollouts]`."""
        peak = self._log_wealth_by_stake.max(axis=1)
        shares = np.exp(self._log_wealth_by_stake - peak[:, None])
        return np.asarray(peak + np.log(shares.sum(axis=1) / len(STAKES)))

    @property
    def log10_e(self) -> Vector:
        """Decimal logarithm of the e-value: 2 means odds of 100 to 1."""
        return self.log_wealth / math.log(10)

    def exceeds(self, alpha: float) -> npt.NDArray[np.bool_]:
        """Test if the e-value has reached `1 / alpha`, bool `[rollouts]`."""
        return np.asarray(self.log_wealth >= -math.log(alpha))


class MixedTest:
    """Mixture of several tests, whose e-value is the weighted mean of the parts' e-values.

    A weighted mean of e-values is an e-value again, so a fault need not show in every part, and the parts
    need no shares of the error budget.

    Parameters
    ----------
    weights : dict of str to float
        Weight of each part by name; normalised to 1.
    rollouts : int
        Number of parallel sequences.

    Attributes
    ----------
    parts : dict of str to BettingTest
        The tests by name; bet on each of them.

    Examples
    --------
    >>> test = MixedTest({"turnover": 0.5, "ic": 0.5})
    >>> for _ in range(40):
    ...     test.parts["turnover"].bet(0.6)
    ...     test.parts["ic"].bet(-0.1)
    >>> test.exceeds(0.01).tolist(), test.strongest_part()
    ([True], 'turnover')
    """

    def __init__(self, weights: dict[str, float], rollouts: int = 1) -> None:
        total = sum(weights.values())
        self._weights = {name: weight / total for name, weight in weights.items()}
        self.parts = {name: BettingTest(rollouts) for name in weights}

    @property
    def log_wealth(self) -> Vector:
        """Natural logarithm of the e-value, float64 `[rollouts]`."""
        parts = np.stack(
            [test.log_wealth + math.log(self._weights[name]) for name, test in self.parts.items()]
        )
        peak = parts.max(axis=0)
        return np.asarray(peak + np.log(np.exp(parts - peak).sum(axis=0)))

    @property
    def log10_e(self) -> Vector:
        """Decimal logarithm of the e-value, float64 `[rollouts]`."""
        return self.log_wealth / math.log(10)

    def exceeds(self, alpha: float) -> npt.NDArray[np.bool_]:
        """Test if the e-value has reached `1 / alpha`, bool `[rollouts]`."""
        return np.asarray(self.log_wealth >= -math.log(alpha))

    def strongest_part(self, rollout: int = 0) -> str:
        """Return the name of the part with the largest e-value."""
        return max(self.parts, key=lambda name: float(self.parts[name].log_wealth[rollout]))


class PairedTest:
    """One-sided tests on paired differences, challenger minus champion: better, worse, not worse.

    Parameters
    ----------
    rollouts : int
        Number of parallel sequences.
    margin : float
        Non-inferiority margin in the unit of the differences; `not_worse` is evidence that the mean
        difference is above `-margin`. 0 switches that test off.

    Attributes
    ----------
    better, worse, not_worse : BettingTest
        The three tests.

    Examples
    --------
    >>> import numpy as np
    >>> test = PairedTest()
    >>> for difference in np.random.default_rng(7).normal(0.6, 1.0, 250):
    ...     test.observe(difference)
    >>> test.better.exceeds(0.01).tolist(), test.worse.exceeds(0.01).tolist()
    ([True], [False])
    """

    def __init__(self, rollouts: int = 1, margin: float = 0.0) -> None:
        self.scale = PredictableScale(rollouts)
        # Scale of differences plus the margin. If the margin were added after clipping, values would lean to
        # one side, and a challenger that loses the whole margin would be found not worse too often.
        self._above = PredictableScale(rollouts)
        self.better = BettingTest(rollouts)
        self.worse = BettingTest(rollouts)
        self.not_worse = BettingTest(rollouts)
        self._margin = margin
        self._total = np.zeros(rollouts)
        self._count = np.zeros(rollouts)

    def observe(self, differences: npt.ArrayLike) -> None:
        """Add one bar's differences, float64 `[rollouts]`; NaN is no evidence."""
        sample = np.broadcast_to(np.asarray(differences, dtype=np.float64), self._total.shape)
        finite = np.isfinite(sample)
        self._total += np.where(finite, sample, 0.0)
        self._count += finite
        scaled = self.scale.clip(sample)
        self.better.bet(scaled)
        self.worse.bet(-scaled)
        if self._margin:
            self.not_worse.bet(self._above.clip(sample + self._margin))

    @property
    def mean(self) -> Vector:
        """Mean difference so far, float64 `[rollouts]`; NaN before the first."""
        mean = np.full(self._total.shape, np.nan)
        np.divide(self._total, self._count, out=mean, where=self._count > 0)
        return mean
