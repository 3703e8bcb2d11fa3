"""The Chande Kroll stop."""

from __future__ import annotations

from features.engine.arithmetic.smoothing import AverageTrueRange, State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("long", "short")


@indicator(("high", "low", "close"), OUTPUTS, group="overlap studies", reference="Chande & Kroll 1994")
def chande_kroll_stop(length: int = 10, multiplier: float = 1.0, stop: int = 9) -> Operator:
    """Highest of `stop` high stops and lowest of `stop` low stops.

    A high stop is the highest high of `length` bars less `multiplier` average true ranges, a low stop
    the lowest low plus as many.
    """
    at_least(1, length=length, stop=stop)
    ranges, bars, stops = AverageTrueRange(length), Trailing(length), Trailing(stop)

    def start(symbols: int) -> State:
        recent = [bars.start(symbols) for _ in range(2)]
        return (ranges.start(symbols), *recent, *(stops.start(symbols) for _ in range(2)))

    def step(state: State, inputs: State) -> Stepped:
        spread, average = ranges.step(state[0], *inputs)
        highs, lows = bars.step(state[1], inputs[0]), bars.step(state[2], inputs[1])
        upper = stops.step(state[3], highs.max(axis=1) - multiplier * average)
        lower = stops.step(state[4], lows.min(axis=1) + multiplier * average)
        return (spread, highs, lows, upper, lower), (upper.max(axis=1), lower.min(axis=1))

    return Recursive(start, step, OUTPUTS, lookback=length + stop)
