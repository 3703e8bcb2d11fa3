"""Volatility: estimators of the standard deviation of log returns, per bar unless annualised.

Every estimator takes `periods`, the number of bars a year by which the variance is multiplied (252 for daily
bars of a stock, 365 for daily bars of a coin); 1 leaves it per bar. Where bars are constant the estimate is
0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from features.engine.arithmetic import moments
from features.engine.arithmetic.moments import Values, log_ratio, window_log_returns
from features.engine.arithmetic.parameters import require_bars, require_between, require_positive
from features.engine.indicator import indicator
from features.engine.operator import SINGLE_OUTPUT, Operator
from features.engine.operators.window import Window

GROUP = "volatility"
BARS = ("open", "high", "low", "close")


@indicator(group=GROUP)
def close_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Sample standard deviation of the last `length` log returns of the close."""
    return _estimator(_close_to_close, require_bars("length", length, 2) + 1, periods)


@indicator(group=GROUP, reference="Andersen and Bollerslev 1998")
def realised_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Root mean square of the last `length` log returns, without subtracting a mean.

    Andersen and Bollerslev, "Answering the skeptics", International Economic Review 39 (1998).
    """
    return _estimator(_mean_square, require_bars("length", length) + 1, periods)


@indicator(("high", "low"), group=GROUP, reference="Parkinson 1980")
def parkinson_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Volatility from the range of each bar; assumes no drift and no gaps between bars.

    Parkinson, "The extreme value method for estimating the variance of the rate of return", Journal of
    Business 53 (1980): the mean of ln(high / low) squared over 4 ln 2.
    """
    return _estimator(_parkinson, require_bars("length", length), periods)


@indicator(BARS, group=GROUP, reference="Garman and Klass 1980")
def garman_klass_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Volatility from range, open and close of each bar; assumes no drift and no gaps between bars.

    Garman and Klass, "On the estimation of security price volatilities from historical data", Journal of
    Business 53 (1980), the practical form: ln(high / low)^2 / 2 - (2 ln 2 - 1) ln(close / open)^2.
    """
    return _estimator(_garman_klass, require_bars("length", length), periods)


@indicator(BARS, group=GROUP, reference="Rogers and Satchell 1991")
def rogers_satchell_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Volatility from range, open and close of each bar, with any drift; assumes no gaps between bars.

    Rogers and Satchell, "Estimating variance from high, low and closing prices", Annals of Applied
    Probability 1 (1991).
    """
    return _estimator(_rogers_satchell_variance, require_bars("length", length), periods)


@indicator(BARS, group=GROUP, reference="Yang and Zhang 2000")
def yang_zhang_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Volatility from overnight and intraday returns: independent of drift, gaps between bars included.

    Yang and Zhang, "Drift-independent volatility estimation based on high, low, open and close prices",
    Journal of Business 73 (2000), with their k = 0.34 / (1.34 + (n + 1) / (n - 1)).
    """
    return _estimator(_yang_zhang, require_bars("length", length, 2) + 1, periods)


@indicator(group=GROUP, outputs=("down", "up"), reference="Barndorff-Nielsen et al. 2010")
def semi_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Roots of the mean squares of falls and of rises; their squares add up to the realised variance.

    Barndorff-Nielsen, Kinnebrock and Shephard, "Measuring downside risk: realised semivariance" (2010).
    """
    require_positive("periods", periods)
    function = partial(_semi_volatility, periods=periods)
    return Window(function, require_bars("length", length) + 1, ("down", "up"))


@indicator(group=GROUP, reference="Barndorff-Nielsen and Shephard 2004")
def bipower_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Root of the mean of neighbouring absolute returns' products times pi / 2, robust to jumps.

    Barndorff-Nielsen and Shephard, "Power and bipower variation with stochastic volatility and jumps",
    Journal of Financial Econometrics 2 (2004).
    """
    return _estimator(_bipower, require_bars("length", length, 2) + 1, periods)


@indicator(group=GROUP, reference="J.P. Morgan, RiskMetrics 1996")
def riskmetrics_volatility(decay: float = 0.94, length: int = 75, periods: float = 1.0) -> Operator:
    """Root of the exponentially weighted mean square of the last `length` log returns.

    RiskMetrics Technical Document (1996); weights `decay` to the power of the age, scaled to add up to 1.
    """
    require_between("decay", decay, 0.0, 1.0)
    return _estimator(partial(_weighted_square, decay=decay), require_bars("length", length) + 1, periods)


@indicator(group=GROUP)
def volatility_of_volatility(length: int = 21, periods: float = 1.0) -> Operator:
    """Sample standard deviation of the last `length` absolute log returns."""
    return _estimator(_absolute_variance, require_bars("length", length, 2) + 1, periods)


def _estimator(variance: Callable[..., Values], length: int, periods: float) -> Operator:
    require_positive("periods", periods)
    return Window(partial(_root, variance=variance, periods=periods), length, SINGLE_OUTPUT)


def _root(*windows: Values, variance: Callable[..., Values], periods: float) -> Values:
    estimate: Values = variance(*windows)
    # Rounding of adjusted prices can take an estimate that is never negative just below zero.
    found: Values = np.sqrt(np.maximum(estimate, 0.0) * periods)
    return found


def _close_to_close(close: Values) -> Values:
    return moments.window_variance(window_log_returns(close))


def _mean_square(close: Values) -> Values:
    found: Values = (window_log_returns(close) ** 2).mean(axis=-1)
    return found


def _parkinson(high: Values, low: Values) -> Values:
    found: Values = (log_ratio(high, low) ** 2).mean(axis=-1) / (4 * math.log(2))
    return found


def _garman_klass(opens: Values, high: Values, low: Values, close: Values) -> Values:
    wide, moved = log_ratio(high, low), log_ratio(close, opens)
    found: Values = (0.5 * wide * wide - (2 * math.log(2) - 1) * moved * moved).mean(axis=-1)
    return found


def _rogers_satchell_variance(opens: Values, high: Values, low: Values, close: Values) -> Values:
    up = log_ratio(high, close) * log_ratio(high, opens)
    down = log_ratio(low, close) * log_ratio(low, opens)
    found: Values = (up + down).mean(axis=-1)
    return found


def _yang_zhang(opens: Values, high: Values, low: Values, close: Values) -> Values:
    """Estimate from windows of n + 1 bars, the first for its close alone."""
    count = close.shape[-1] - 1
    weight = 0.34 / (1.34 + (count + 1) / (count - 1))
    night = moments.window_variance(log_ratio(opens[..., 1:], close[..., :-1]))
    day = moments.window_variance(log_ratio(close, opens)[..., 1:])
    within = _rogers_satchell_variance(opens[..., 1:], high[..., 1:], low[..., 1:], close[..., 1:])
    found: Values = night + weight * day + (1 - weight) * within
    return found


def _semi_volatility(close: Values, periods: float) -> tuple[Values, Values]:
    returns = window_log_returns(close)
    down = (np.minimum(returns, 0.0) ** 2).mean(axis=-1)
    up = (np.maximum(returns, 0.0) ** 2).mean(axis=-1)
    return np.sqrt(down * periods), np.sqrt(up * periods)


def _bipower(close: Values) -> Values:
    size = np.abs(window_log_returns(close))
    found: Values = (size[..., 1:] * size[..., :-1]).mean(axis=-1) * (math.pi / 2)
    return found


def _weighted_square(close: Values, decay: float) -> Values:
    returns = window_log_returns(close)
    weights = np.power(decay, np.arange(returns.shape[-1])[::-1])
    found: Values = (returns * returns * weights).sum(axis=-1) / weights.sum()
    return found


def _absolute_variance(close: Values) -> Values:
    return moments.window_variance(np.abs(window_log_returns(close)))
