"""Market regimes by rule: trend, sideways or volatile. For fitted regimes see `hidden_markov`."""

from __future__ import annotations

from functools import partial

import numpy as np

from alphaloop.errors import InputError
from features.engine.arithmetic import moments
from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.moments import Values, window_simple_returns
from features.engine.arithmetic.parameters import require_bars, require_between, require_positive
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

GROUP = "regime"


@indicator(outputs=("trend", "sideways", "volatile", "direction"), group=GROUP)
def market_regime(
    length: int = 21, history: int = 252, share: float = 0.9, efficiency: float = 0.3, slope: float = 0.5
) -> Operator:
    """Regime of the last `length` bars: one of trend, sideways and volatile is 1, the others 0.

    Volatile, if the bars' mean square return is above the `share` quantile of that of the earlier stretches
    of `length` bars in the last `history`. Else trend, if the price went straight (`efficiency_ratio` at
    least `efficiency`) and the average of the last half of the bars is at least `slope` standard deviations
    (of a random walk of `length` bars with their volatility) away from that of the first half. Else sideways.
    Direction is the sign of that move, 0 outside a trend. Constant prices are sideways.
    """
    require_bars("length", length, 4)
    if history < 3 * length:
        raise InputError(f"history is {history}; it must hold at least 3 stretches of length = {length} bars")
    require_bars("history", history)
    require_between("share", share, 0.0, 1.0)
    require_between("efficiency", efficiency, 0.0, 1.0)
    require_positive("slope", slope)
    function = partial(_regime, length=length, share=share, efficiency=efficiency, slope=slope)
    return Window(function, history // length * length + 1, ("trend", "sideways", "volatile", "direction"))


@indicator(group=GROUP, reference="Kaufman 1995")
def efficiency_ratio(length: int = 21) -> Operator:
    """Straightness of the price: net move of the last `length` bars over the sum of their moves, 0 to 1.

    Kaufman, "Smarter Trading" (1995). 0 if the price did not move.
    """
    return Window(_efficiency, require_bars("length", length) + 1)


@indicator(group=GROUP)
def volatility_rank(length: int = 21, history: int = 252) -> Operator:
    """Rank of the last bars' mean square return among earlier stretches, -1 (calmest) to 1 (wildest).

    Stretches of `length` bars, of which the last `history` bars hold a whole number.
    """
    require_bars("length", length, 2)
    if history < 2 * length:
        raise InputError(f"history is {history}; it must hold at least 2 stretches of length = {length} bars")
    return Window(
        partial(_volatility_rank, length=length), require_bars("history", history) // length * length + 1
    )


def _regime(
    close: Values, length: int, share: float, efficiency: float, slope: float
) -> tuple[Values, Values, Values, Values]:
    squares = _mean_squares(close, length)
    usual = moments.window_quantile(squares[..., :-1], share)
    known = np.isfinite(squares).all(axis=-1)
    # Stretches that differ only by rounding must not rank as different.
    volatile = squares[..., -1] > usual * (1 + 1e-9)
    recent = close[..., -length:]
    half = length // 2
    move = ratio(moments.window_mean(recent[..., -half:]), moments.window_mean(recent[..., :half])) - 1
    straight = _efficiency(close[..., -length - 1 :]) >= efficiency
    far = np.abs(move) >= slope * np.sqrt(squares[..., -1] * length)
    trend = ~volatile & straight & far & (squares[..., -1] > 0)
    sideways = ~volatile & ~trend
    flags = (trend, sideways, volatile, np.where(trend, np.sign(move), 0.0))
    found = [np.where(known, flag, np.nan) for flag in flags]
    return found[0], found[1], found[2], found[3]


def _mean_squares(close: Values, length: int) -> Values:
    """Return the mean square return of each stretch of `length` bars, `[..., stretches]`."""
    returns = window_simple_returns(close)
    stretches = returns.reshape(*returns.shape[:-1], -1, length)
    found: Values = (stretches * stretches).mean(axis=-1)
    return found


def _efficiency(close: Values) -> Values:
    travelled = np.abs(close[..., 1:] - close[..., :-1]).sum(axis=-1)
    return ratio(np.abs(close[..., -1] - close[..., 0]), travelled, 0.0)


def _volatility_rank(close: Values, length: int) -> Values:
    squares = _mean_squares(close, length)
    last, earlier = squares[..., -1:], squares[..., :-1]
    above = (earlier < last * (1 - 1e-9)).sum(axis=-1)
    below = (earlier > last * (1 + 1e-9)).sum(axis=-1)
    found: Values = (above - below) / earlier.shape[-1]
    return np.where(np.isfinite(squares).all(axis=-1), found, np.nan)
