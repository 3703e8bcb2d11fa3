"""Correlation of a series with another, with a benchmark and with the other symbols.

A benchmark is a column `benchmark` of the bars: the benchmark's price at each bar's close. The universe is
the set of symbols at hand; its return is the mean of theirs, each symbol's own included.
"""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values, deviations
from features.engine.arithmetic.parameters import require_bars
from features.engine.indicator import indicator
from features.engine.operator import Matrix, Operator
from features.engine.operators.pairwise import AverageCorrelation
from features.engine.operators.pointwise import CrossSection
from features.engine.operators.window import Window

GROUP = "correlation"
RETURNS = ("simple_return", "benchmark_return")
AMONG_OTHERS = ("simple_return", "universe_return")


@indicator(("benchmark",), group=GROUP)
def benchmark_return(bars: int = 1) -> Operator:
    """Change of the column `benchmark` over `bars` bars, as a share of its value then."""
    return Window(_change, require_bars("bars", bars) + 1, exact=True)


@indicator(("simple_return",), group=GROUP)
def universe_return() -> Operator:
    """Mean return of all symbols at the bar: an equally weighted market."""
    return CrossSection(_row_mean, exact=False)


@indicator(RETURNS, group=GROUP, reference="Pearson 1895")
def rolling_correlation(length: int = 60) -> Operator:
    """Pearson's correlation of two series over the last bars, of returns with the benchmark's by default.

    NaN if either is constant.
    """
    return Window(moments.correlation, require_bars("length", length, 3))


@indicator(RETURNS, group=GROUP)
def rolling_covariance(length: int = 60) -> Operator:
    """Sample covariance of two series over the last bars, of returns with the benchmark's by default."""
    return Window(moments.covariance, require_bars("length", length, 2))


@indicator(RETURNS, group=GROUP, reference="Sharpe 1964")
def rolling_beta(length: int = 60) -> Operator:
    """Slope of the first series on the second, of returns on the benchmark's by default.

    NaN if the second is constant.
    """
    return Window(moments.regression_slope, require_bars("length", length, 2))


@indicator(RETURNS, group=GROUP, reference="Bawa and Lindenberg 1977")
def downside_beta(length: int = 120) -> Operator:
    """Beta over those of the last bars on which the benchmark's return was below its mean.

    Bawa and Lindenberg, "Capital market equilibrium in a mean-lower partial moment framework", Journal of
    Financial Economics 5 (1977), as in Ang, Chen and Xing 2006. NaN if fewer than two such bars differ.
    """
    return Window(_downside, require_bars("length", length, 4))


@indicator(RETURNS, group=GROUP, reference="Ang, Hodrick, Xing and Zhang 2006")
def residual_volatility(length: int = 60) -> Operator:
    """Idiosyncratic volatility: deviation of returns not explained by the benchmark's.

    With `length - 2` degrees of freedom, as in Ang, Hodrick, Xing and Zhang, Journal of Finance 61 (2006), on
    one factor.
    """
    return Window(_residual, require_bars("length", length, 3))


@indicator(AMONG_OTHERS, group=GROUP)
def universe_correlation(length: int = 60) -> Operator:
    """Pearson's correlation of the symbol's last returns with the universe's mean return."""
    return Window(moments.correlation, require_bars("length", length, 3))


@indicator(AMONG_OTHERS, group=GROUP)
def universe_beta(length: int = 60) -> Operator:
    """Slope of the symbol's last returns on the universe's mean return."""
    return Window(moments.regression_slope, require_bars("length", length, 2))


@indicator(("simple_return",), group=GROUP, reference="Pollet and Wilson 2010")
def average_correlation(length: int = 60) -> Operator:
    """Mean correlation of all pairs of symbols over the market's last bars; the same for all symbols.

    Pollet and Wilson, "Average correlation and stock market returns", Journal of Financial Economics 96
    (2010), equally weighted. Only symbols with a return at each of those bars count; NaN below two.
    """
    return AverageCorrelation(require_bars("length", length, 3))


def _change(benchmark: Values) -> Values:
    return ratio(benchmark[..., -1] - benchmark[..., 0], benchmark[..., 0])


def _row_mean(returns: Matrix) -> Matrix:
    known = np.isfinite(returns)
    total = np.where(known, returns, 0.0).sum(axis=1, keepdims=True)
    found = ratio(total, known.sum(axis=1, keepdims=True).astype(np.float64))
    return np.where(known, found, np.nan)


def _downside(asset: Values, benchmark: Values) -> Values:
    below = (deviations(benchmark) < 0).astype(np.float64)
    count = below.sum(axis=-1, keepdims=True)
    run = (benchmark - ratio((benchmark * below).sum(axis=-1, keepdims=True), count)) * below
    rise = (asset - ratio((asset * below).sum(axis=-1, keepdims=True), count)) * below
    size = np.abs(run).max(axis=-1, keepdims=True)
    # Falls that are all alike differ by rounding only.
    real = size > moments.FLAT * np.abs(benchmark * below).max(axis=-1, keepdims=True)
    run = ratio(run, np.where(real, size, 0.0), np.nan)
    return ratio((rise * run).sum(axis=-1), (run * run).sum(axis=-1) * size[..., 0])


def _residual(asset: Values, benchmark: Values) -> Values:
    rise, run = deviations(asset), deviations(benchmark)
    slope = np.nan_to_num(moments.regression_slope(asset, benchmark))[..., None]
    left = rise - slope * run
    found: Values = np.sqrt((left * left).sum(axis=-1) / (asset.shape[-1] - 2))
    return found
