"""Bands around an average, and the price's place in them."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.parameters import require_positive
from features.engine.arithmetic.smoothing import AverageTrueRange, State, Stepped, Trailing, at_least
from features.engine.arithmetic.subwindows import Array, centred_mean, deviation, line_end, subwindow_means
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive
from features.engine.operators.window import Window

BANDS = ("upper", "middle", "lower")
BOLLINGER = ("percent", "bandwidth")


@indicator(outputs=BOLLINGER, group="volatility indicators", reference="Bollinger 2001")
def bollinger_position(length: int = 20, deviations: float = 2.0) -> Operator:
    """Close relative to the Bollinger bands (%b: 0 lower, 1 upper), and their width over the average.

    %b of a constant price is NaN, its bandwidth 0.
    """
    at_least(2, length=length)
    require_positive("deviations", deviations)

    def position(close: Array) -> tuple[Array, Array]:
        average, width = centred_mean(close), deviations * deviation(close)
        return ratio(close[..., -1] - average, 2.0 * width) + 0.5, ratio(2.0 * width, average)

    return Window(position, length, BOLLINGER, exact=True)


@indicator(outputs=BANDS, group="overlap studies", reference="Murphy 1999")
def envelope(length: int = 20, share: float = 0.025) -> Operator:
    """Average of `length` closes, and lines a `share` of it above and below."""
    at_least(1, length=length)

    def lines(close: Array) -> tuple[Array, ...]:
        average = centred_mean(close)
        return average * (1.0 + share), average, average * (1.0 - share)

    return Window(lines, length, BANDS, exact=True)


@indicator(outputs=BANDS, group="overlap studies", reference="Raff 1991; Andersen 1996")
def regression_channel(length: int = 50, deviations: float = 2.0) -> Operator:
    """End of the least-squares line of `length` closes, and lines standard errors above and below it.

    The standard error is that of the regression, with `length - 2` degrees of freedom.
    """
    at_least(3, length=length)
    places = np.arange(length) - (length - 1) / 2.0

    def lines(close: Array) -> tuple[Array, ...]:
        around = close - close[..., -1:]
        around = around - around.mean(axis=-1, keepdims=True)
        steepness = (around * places).sum(axis=-1, keepdims=True) / (places * places).sum()
        rest = around - steepness * places
        width = deviations * np.sqrt((rest * rest).sum(axis=-1) / (length - 2))
        end = line_end(close)
        return end + width, end, end - width

    return Window(lines, length, BANDS, exact=True)


@indicator(("high", "low", "close"), BANDS, group="overlap studies", reference="Stoller 1987")
def starc(length: int = 6, multiplier: float = 2.0, range_length: int = 15) -> Operator:
    """Average of `length` closes, and lines `multiplier` Wilder average true ranges above and below."""
    at_least(1, length=length, range_length=range_length)
    closes, ranges = Trailing(length), AverageTrueRange(range_length)

    def start(symbols: int) -> State:
        return closes.start(symbols), ranges.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = closes.step(state[0], inputs[2])
        spread, average = ranges.step(state[1], *inputs)
        middle, width = centred_mean(recent), multiplier * average
        return (recent, spread), (middle + width, middle, middle - width)

    return Recursive(start, step, BANDS, lookback=max(length, range_length + 1))


@indicator(("high", "low", "close"), BANDS, group="overlap studies", reference="Evens; pandas-ta: aberration")
def aberration(length: int = 5, range_length: int = 15) -> Operator:
    """Average typical price of `length` bars, and lines one Wilder average true range above and below."""
    at_least(1, length=length, range_length=range_length)
    prices, ranges = Trailing(length), AverageTrueRange(range_length)

    def start(symbols: int) -> State:
        return prices.start(symbols), ranges.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = prices.step(state[0], (inputs[0] + inputs[1] + inputs[2]) / 3.0)
        spread, average = ranges.step(state[1], *inputs)
        middle = subwindow_means(recent, length)[:, 0]
        return (recent, spread), (middle + average, middle, middle - average)

    return Recursive(start, step, BANDS, lookback=max(length, range_length + 1))
