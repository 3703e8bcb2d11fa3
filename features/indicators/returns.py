"""Returns over bars, sessions and nights."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import (
    Values,
    log_ratio,
    window_log_returns,
    window_mean,
    window_variance,
)
from features.engine.arithmetic.parameters import require_bars
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.pointwise import Pointwise
from features.engine.operators.window import Window

GROUP = "returns"


@indicator(group=GROUP)
def simple_return(bars: int = 1) -> Operator:
    """Change of the close over `bars` bars, as a share of the earlier close."""
    return Window(_simple, require_bars("bars", bars) + 1, exact=True)


@indicator(group=GROUP)
def log_return(bars: int = 1) -> Operator:
    """Logarithm of the close over the close of `bars` bars ago."""
    return Window(_logarithmic, require_bars("bars", bars) + 1)


@indicator(("open", "close"), group=GROUP)
def overnight_return(length: int = 1) -> Operator:
    """Log return from close to next open, summed over the last `length` nights."""
    return Window(_overnight, require_bars("length", length) + 1)


@indicator(("open", "close"), group=GROUP)
def intraday_return(length: int = 1) -> Operator:
    """Log return from open to close, summed over the last `length` bars."""
    return Window(_intraday, require_bars("length", length))


@indicator(("open", "close"), group=GROUP)
def bar_return() -> Operator:
    """Change from the bar's open to its close, as a share of the open."""
    return Pointwise(_within)


@indicator(group=GROUP)
def cumulative_return(length: int = 252) -> Operator:
    """Compound return of the last `length` bars: the product of one plus each simple return, minus one.

    Over adjusted closes this is the close over the close of `length` bars ago, minus one.
    """
    return Window(_simple, require_bars("length", length) + 1, exact=True)


@indicator(group=GROUP, reference="Sharpe 1994")
def return_over_risk(length: int = 63) -> Operator:
    """Mean of the last log returns over their sample standard deviation, per bar; 0 if constant."""
    return Window(_over_risk, require_bars("length", length, 2) + 1)


@indicator(group=GROUP)
def up_share(length: int = 20) -> Operator:
    """Share of the last `length` changes that were positive, 0 to 1."""
    return Window(_up_share, require_bars("length", length) + 1, exact=True)


def _simple(close: Values) -> Values:
    return ratio(close[..., -1] - close[..., 0], close[..., 0])


def _logarithmic(close: Values) -> Values:
    return log_ratio(close[..., -1], close[..., 0])


def _overnight(opens: Values, close: Values) -> Values:
    found: Values = log_ratio(opens[..., 1:], close[..., :-1]).sum(axis=-1)
    return found


def _intraday(opens: Values, close: Values) -> Values:
    found: Values = log_ratio(close, opens).sum(axis=-1)
    return found


def _within(opens: Values, close: Values) -> Values:
    return ratio(close - opens, opens)


def _over_risk(close: Values) -> Values:
    returns = window_log_returns(close)
    return ratio(window_mean(returns), np.sqrt(window_variance(returns)), 0.0)


def _up_share(close: Values) -> Values:
    found: Values = (close[..., 1:] > close[..., :-1]).sum(axis=-1) / (close.shape[-1] - 1)
    return found
