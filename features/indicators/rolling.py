"""Rolling statistics of the last bars of any series, by default the close."""

from __future__ import annotations

from functools import partial

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values, deviations
from features.engine.arithmetic.parameters import require_bars, require_between
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

GROUP = "statistics"


@indicator(group=GROUP)
def rolling_mean(length: int = 20) -> Operator:
    """Mean of the last bars."""
    return Window(moments.window_mean, require_bars("length", length))


@indicator(group=GROUP)
def rolling_std(length: int = 20) -> Operator:
    """Sample standard deviation of the last bars (divided by length - 1); 0 if they are constant."""
    return Window(_standard_deviation, require_bars("length", length, 2))


@indicator(group=GROUP)
def rolling_variance(length: int = 20) -> Operator:
    """Sample variance of the last bars (divided by length - 1)."""
    return Window(moments.window_variance, require_bars("length", length, 2))


@indicator(group=GROUP, reference="Joanes and Gill 1998, G1")
def rolling_skewness(length: int = 60) -> Operator:
    """Sample skewness of the last bars, corrected for their number; NaN if they are constant.

    G1 of Joanes and Gill, "Comparing measures of sample skewness and kurtosis", The Statistician 47 (1998).
    """
    return Window(_skewness, require_bars("length", length, 3))


@indicator(group=GROUP, reference="Joanes and Gill 1998, G2")
def rolling_kurtosis(length: int = 60) -> Operator:
    """Sample excess kurtosis of the last bars, corrected for their number; NaN if they are constant."""
    return Window(_kurtosis, require_bars("length", length, 4))


@indicator(group=GROUP, reference="Hyndman and Fan 1996, type 7")
def rolling_quantile(length: int = 60, share: float = 0.5) -> Operator:
    """Value below which `share` of the last bars lie, linear between order statistics."""
    require_between("share", share, 0.0, 1.0)
    return Window(partial(moments.window_quantile, share=share), require_bars("length", length), exact=True)


@indicator(group=GROUP, reference="Leys et al. 2013")
def rolling_absolute_deviation(length: int = 20) -> Operator:
    """Median distance of the last bars from their median (times 1.4826 a robust standard deviation)."""
    return Window(_median_deviation, require_bars("length", length), exact=True)


@indicator(group=GROUP, reference="Box and Jenkins 1976")
def rolling_autocorrelation(length: int = 60, lag: int = 1) -> Operator:
    """Autocorrelation of the last bars at `lag`, over the window's own mean; NaN if they are constant.

    The sum of lagged products over the sum of squares, so it stays from -1 to 1 (Box and Jenkins).
    """
    require_bars("length", length, 3)
    require_bars("lag", lag)
    if lag >= length - 1:
        raise InputError(f"lag is {lag}; it must be below length - 1 = {length - 1}")
    return Window(partial(_autocorrelation, lag=lag), length)


@indicator(group=GROUP)
def rolling_zscore(length: int = 20) -> Operator:
    """Distance of the value from the mean of the last bars, in sample standard deviations; 0 if constant."""
    return Window(_zscore, require_bars("length", length, 2))


@indicator(group=GROUP)
def rolling_slope(length: int = 20) -> Operator:
    """Slope of the least-squares line through the last bars, in units of the series a bar."""
    return Window(_slope, require_bars("length", length, 2))


@indicator(group=GROUP)
def rolling_fit(length: int = 20) -> Operator:
    """Share of the variance that a straight line explains (R squared), 0 to 1; NaN if constant."""
    return Window(_fit, require_bars("length", length, 3))


@indicator(group=GROUP)
def rolling_rank(length: int = 60) -> Operator:
    """Rank of the value among the last bars, from -1 (lowest) to 1 (highest); ties share their mean."""
    return Window(_rank, require_bars("length", length, 2), exact=True)


@indicator(group=GROUP)
def drawdown(length: int = 252) -> Operator:
    """Change of the value from the highest of the last bars, as a share of that: 0 or negative."""
    return Window(_drawdown, require_bars("length", length), exact=True)


@indicator(group=GROUP)
def max_drawdown(length: int = 252) -> Operator:
    """Largest drop from a high within the last bars, as a share of that high: 0 or negative."""
    return Window(_deepest, require_bars("length", length), exact=True)


@indicator(group=GROUP, reference="Shannon 1948")
def sign_entropy(length: int = 60) -> Operator:
    """Entropy of the signs (up, down, unchanged) of the last `length` changes, from 0 to 1.

    Shannon's, in units of that of three equally likely signs. 0: always the same sign.
    """
    return Window(_sign_entropy, require_bars("length", length) + 1)


def _standard_deviation(windows: Values) -> Values:
    found: Values = np.sqrt(moments.window_variance(windows))
    return found


def _skewness(windows: Values) -> Values:
    count = windows.shape[-1]
    found: Values = moments.standardised_moment(windows, 3) * np.sqrt(count * (count - 1)) / (count - 2)
    return found


def _kurtosis(windows: Values) -> Values:
    count = windows.shape[-1]
    excess = moments.standardised_moment(windows, 4) - 3
    found: Values = ((count + 1) * excess + 6) * (count - 1) / ((count - 2) * (count - 3))
    return found


def _median_deviation(windows: Values) -> Values:
    middle = moments.window_quantile(windows, 0.5)
    return moments.window_quantile(np.abs(windows - middle[..., None]), 0.5)


def _autocorrelation(windows: Values, lag: int) -> Values:
    centred = deviations(windows)
    centred = ratio(centred, np.abs(centred).max(axis=-1, keepdims=True), 0.0)
    products = (centred[..., lag:] * centred[..., :-lag]).sum(axis=-1)
    return ratio(products, (centred * centred).sum(axis=-1))


def _zscore(windows: Values) -> Values:
    return ratio(deviations(windows)[..., -1], _standard_deviation(windows), 0.0)


def _slope(windows: Values) -> Values:
    steps = np.arange(windows.shape[-1]) - (windows.shape[-1] - 1) / 2
    found: Values = (deviations(windows) * steps).sum(axis=-1) / (steps * steps).sum()
    return found


def _fit(windows: Values) -> Values:
    steps = np.arange(windows.shape[-1], dtype=np.float64)
    found = moments.correlation(windows, np.broadcast_to(steps, windows.shape))
    return found * found


def _rank(windows: Values) -> Values:
    last = windows[..., -1:]
    below = (windows < last).sum(axis=-1)
    above = (windows > last).sum(axis=-1)
    found: Values = (below - above) / (windows.shape[-1] - 1)
    return found


def _drawdown(windows: Values) -> Values:
    highest = windows.max(axis=-1)
    return ratio(windows[..., -1] - highest, np.abs(highest))


def _deepest(windows: Values) -> Values:
    highest = np.maximum.accumulate(windows, axis=-1)
    found: Values = ratio(windows - highest, np.abs(highest)).min(axis=-1)
    return found


def _sign_entropy(windows: Values) -> Values:
    changes = windows[..., 1:] - windows[..., :-1]
    found = np.zeros(windows.shape[:-1])
    for share in ((changes > 0).mean(axis=-1), (changes < 0).mean(axis=-1), (changes == 0).mean(axis=-1)):
        found = found - share * np.log(np.where(share > 0, share, 1.0))
    shares: Values = found / np.log(3.0)
    return shares
