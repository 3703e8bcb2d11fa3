"""The wave trend oscillator."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least, exponential
from features.engine.arithmetic.subwindows import centred_mean
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("value", "signal")


@indicator(("high", "low", "close"), OUTPUTS, group="momentum indicators", reference="LazyBear 2014")
def wave_trend(channel: int = 10, average: int = 21, signal: int = 4) -> Operator:
    """Typical price's distance from its average in units of average distance, smoothed; and its average.

    Distances are over 0.015 average absolute ones, as in Lambert's commodity channel index.
    """
    at_least(1, channel=channel, average=average, signal=signal)
    prices, distances, smooth = exponential(channel), exponential(channel), exponential(average)
    recent = Trailing(signal)

    def start(symbols: int) -> State:
        return tuple(one.start(symbols) for one in (prices, distances, smooth, recent))

    def step(state: State, inputs: State) -> Stepped:
        typical = (inputs[0] + inputs[1] + inputs[2]) / 3.0
        averages, middle = prices.step(state[0], typical)
        spreads, spread = distances.step(state[1], abs(typical - middle))
        smoothed, value = smooth.step(state[2], ratio(typical - middle, 0.015 * spread))
        values = recent.step(state[3], value)
        return (averages, spreads, smoothed, values), (value, centred_mean(values))

    return Recursive(start, step, OUTPUTS, lookback=2 * channel + average + signal - 3)
