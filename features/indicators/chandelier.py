"""Chandelier exits."""

from __future__ import annotations

from features.engine.arithmetic.smoothing import AverageTrueRange, State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("long", "short")


@indicator(("high", "low", "close"), OUTPUTS, group="overlap studies", reference="Le Beau; Elder 2002")
def chandelier(length: int = 22, multiplier: float = 3.0) -> Operator:
    """Two exits, `multiplier` average true ranges below the highest high and above the lowest low."""
    at_least(1, length=length)
    ranges, bars = AverageTrueRange(length), Trailing(length)

    def start(symbols: int) -> State:
        return ranges.start(symbols), bars.start(symbols), bars.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        spread, average = ranges.step(state[0], *inputs)
        highs, lows = bars.step(state[1], inputs[0]), bars.step(state[2], inputs[1])
        distance = multiplier * average
        return (spread, highs, lows), (highs.max(axis=1) - distance, lows.min(axis=1) + distance)

    return Recursive(start, step, OUTPUTS, lookback=length + 1)
