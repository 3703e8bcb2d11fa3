"""Liquidity from bars: trading costs, and price impact."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values, log_ratio, window_log_returns, window_simple_returns
from features.engine.arithmetic.parameters import require_bars
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

GROUP = "microstructure"
NEGLIGIBLE = 1e-12
"""A covariance that is smaller beside the variance is rounding: its root would be a million times as big."""


@indicator(group=GROUP, reference="Roll 1984")
def roll_spread(length: int = 60) -> Operator:
    """Effective spread as a share of the price, from the bounce of the last `length` log returns.

    2 sqrt(-cov) of neighbouring returns; 0 where they do not revert. Roll, "A simple implicit measure of
    the effective bid-ask spread in an efficient market", Journal of Finance 39 (1984).
    """
    return Window(_roll, require_bars("length", length, 3) + 1)


@indicator(("close", "volume"), group=GROUP, reference="Amihud 2002")
def amihud_illiquidity(length: int = 21) -> Operator:
    """Mean absolute return per million of money traded; bars without volume are left out.

    Amihud, "Illiquidity and stock returns", Journal of Financial Markets 5 (2002). NaN if nothing traded.
    """
    return Window(_amihud, require_bars("length", length) + 1)


@indicator(("high", "low", "close"), group=GROUP, reference="Corwin and Schultz 2012")
def corwin_schultz_spread(length: int = 21) -> Operator:
    """Spread as a share of the price, from the ranges of neighbouring bars, mean of the last `length`.

    Corwin and Schultz, "A simple way to estimate bid-ask spreads from daily high and low prices", Journal
    of Finance 67 (2012), with their adjustment for nights; negative pairs count as 0, as they advise.
    """
    return Window(_corwin_schultz, require_bars("length", length) + 1)


@indicator(("high", "low", "close"), group=GROUP, reference="Abdi and Ranaldo 2017")
def abdi_ranaldo_spread(length: int = 21) -> Operator:
    """Spread as a share of the price, from closes and midpoints of ranges; 0 where the estimate is imaginary.

    Abdi and Ranaldo, "A simple estimation of bid-ask spreads from daily close, high, and low prices", Review
    of Financial Studies 30 (2017), equation 11 over the last `length` pairs of bars.
    """
    return Window(_abdi_ranaldo, require_bars("length", length) + 1)


@indicator(("close", "volume"), group=GROUP, reference="Kyle 1985")
def kyle_lambda(length: int = 60) -> Operator:
    """Price impact: the slope of the close's change on signed volume, in price per unit traded.

    Volume is signed by its bar's change of the close (the tick rule), which overstates the impact where
    prices move for other reasons; see `trade_impact` where trades are known. NaN if nothing traded. Kyle,
    "Continuous auctions and insider trading", Econometrica 53 (1985).
    """
    return Window(_kyle, require_bars("length", length, 2) + 1)


@indicator(("close", "volume"), group=GROUP, reference="Hasbrouck 2009")
def hasbrouck_lambda(length: int = 60) -> Operator:
    """Price impact: the slope of log returns on the signed root of the money traded.

    Hasbrouck, "Trading costs and returns for US equities", Journal of Finance 64 (2009), equation 8, with
    volume signed by the tick rule.
    """
    return Window(_hasbrouck, require_bars("length", length, 2) + 1)


@indicator(group=GROUP, reference="Lesmond, Ogden and Trzcinka 1999")
def zero_return_share(length: int = 60) -> Operator:
    """Share of the last `length` changes of the close that are zero, which rises with trading costs.

    Lesmond, Ogden and Trzcinka, "A new estimate of transaction costs", Review of Financial Studies 12 (1999).
    """
    return Window(_zero_share, require_bars("length", length) + 1, exact=True)


@indicator(("close", "volume"), group=GROUP)
def money_traded(length: int = 21) -> Operator:
    """Mean money traded a bar: close times volume."""
    return Window(_money, require_bars("length", length))


@indicator(("volume",), group=GROUP)
def relative_volume(length: int = 21) -> Operator:
    """Bar's volume over the mean of the `length` bars before it; 1 if neither traded, else NaN at 0."""
    return Window(_relative_volume, require_bars("length", length) + 1)


@indicator(("volume", "shares_outstanding"), group=GROUP, reference="Datar, Naik and Radcliffe 1998")
def turnover(length: int = 21) -> Operator:
    """Volume as a share of the column `shares_outstanding`, mean of the last bars.

    Datar, Naik and Radcliffe, "Liquidity and stock returns", Journal of Financial Markets 1 (1998).
    """
    return Window(_turnover, require_bars("length", length))


def _roll(close: Values) -> Values:
    returns = window_log_returns(close)
    bounce = -moments.covariance(returns[..., 1:], returns[..., :-1])
    real = bounce > NEGLIGIBLE * (returns * returns).mean(axis=-1)
    return _where_known(bounce, 2 * np.sqrt(np.where(real, bounce, 0.0)))


def _amihud(close: Values, volume: Values) -> Values:
    money = (close * volume)[..., 1:]
    each = ratio(np.abs(window_simple_returns(close)), money, 0.0)
    return ratio(each.sum(axis=-1), (money > 0).sum(axis=-1).astype(np.float64)) * 1e6


def _corwin_schultz(high: Values, low: Values, close: Values) -> Values:
    before = close[..., :-1]
    # An overnight gap is not part of the range: the later bar is shifted to the earlier close.
    shift = np.maximum(low[..., 1:] - before, 0.0) + np.minimum(high[..., 1:] - before, 0.0)
    top, bottom = high[..., 1:] - shift, low[..., 1:] - shift
    squares = log_ratio(high[..., :-1], low[..., :-1]) ** 2 + log_ratio(top, bottom) ** 2
    both = log_ratio(np.maximum(high[..., :-1], top), np.minimum(low[..., :-1], bottom)) ** 2
    root = 3 - 2 * np.sqrt(2.0)
    alpha = (np.sqrt(2 * squares) - np.sqrt(squares)) / root - np.sqrt(both / root)
    # 2 (e^alpha - 1) / (1 + e^alpha)
    found: Values = np.maximum(2 * np.tanh(alpha / 2), 0.0).mean(axis=-1)
    return found


def _abdi_ranaldo(high: Values, low: Values, close: Values) -> Values:
    base = close[..., :1]
    logarithm = log_ratio(close, base)
    middle = (log_ratio(high, base) + log_ratio(low, base)) / 2
    away, further = logarithm - middle, logarithm[..., :-1] - middle[..., 1:]
    products = (away[..., :-1] * further).mean(axis=-1)
    size = (away * away).mean(axis=-1) + (further * further).mean(axis=-1)
    real = products > NEGLIGIBLE * size
    return _where_known(products, 2 * np.sqrt(np.where(real, products, 0.0)))


def _kyle(close: Values, volume: Values) -> Values:
    changes = close[..., 1:] - close[..., :-1]
    return moments.regression_slope(changes, np.sign(changes) * volume[..., 1:])


def _hasbrouck(close: Values, volume: Values) -> Values:
    returns = window_log_returns(close)
    flow = np.sign(returns) * np.sqrt((close * volume)[..., 1:])
    return moments.regression_slope(returns, flow)


def _zero_share(close: Values) -> Values:
    found: Values = (close[..., 1:] == close[..., :-1]).sum(axis=-1) / (close.shape[-1] - 1)
    return found


def _money(close: Values, volume: Values) -> Values:
    found: Values = (close * volume).mean(axis=-1)
    return found


def _relative_volume(volume: Values) -> Values:
    before = volume[..., :-1].mean(axis=-1)
    found = ratio(volume[..., -1], before)
    return np.where((before == 0) & (volume[..., -1] == 0), 1.0, found)


def _turnover(volume: Values, shares: Values) -> Values:
    found: Values = ratio(volume, shares).mean(axis=-1)
    return found


def _where_known(known: Values, values: Values) -> Values:
    return np.where(np.isfinite(known), values, np.nan)
