"""The distance of the close from its average."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import (
    AverageTrueRange,
    State,
    Stepped,
    Trailing,
    at_least,
    exponential,
)
from features.engine.arithmetic.subwindows import Array, centred_mean
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive
from features.engine.operators.window import Window


@indicator(group="momentum indicators", reference="Nison 1994 (disparity index); pandas-ta: bias")
def bias(length: int = 26) -> Operator:
    """Close over its average of `length` bars, less 1."""
    at_least(1, length=length)

    def distance(close: Array) -> Array:
        average = centred_mean(close)
        return ratio(close[..., -1] - average, average)

    return Window(distance, length, exact=True)


@indicator(("high", "low", "close"), group="momentum indicators", reference="Johnson; pandas-ta: pgo")
def pretty_good_oscillator(length: int = 14) -> Operator:
    """Distance of the close from its average of `length` bars, in exponentially averaged true ranges."""
    at_least(1, length=length)
    closes, ranges, average = Trailing(length), AverageTrueRange(1), exponential(length)

    def start(symbols: int) -> State:
        return closes.start(symbols), ranges.start(symbols), average.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = closes.step(state[0], inputs[2])
        spread, extent = ranges.step(state[1], *inputs)
        averages, typical = average.step(state[2], extent)
        return (recent, spread, averages), (ratio(inputs[2] - centred_mean(recent), typical),)

    return Recursive(start, step, lookback=length + 1)
