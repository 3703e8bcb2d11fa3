"""MACD of volume-weighted averages."""

from __future__ import annotations

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import State, Stepped, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("macd", "signal", "histogram")


@indicator(("close", "volume"), OUTPUTS, group="momentum indicators", reference="Hawkins; Dormeier 2011")
def volume_weighted_macd(fast: int = 12, slow: int = 26, signal: int = 9) -> Operator:
    """Difference of two volume-weighted exponential averages, its average, and the difference of the two.

    Each average is that of close × volume over that of volume; NaN while nothing traded.
    """
    at_least(1, fast=fast, slow=slow, signal=signal)
    averages = [exponential(length) for length in (fast, fast, slow, slow)]
    smooth = exponential(signal)

    def start(symbols: int) -> State:
        return tuple(one.start(symbols) for one in (*averages, smooth))

    def step(state: State, inputs: State) -> Stepped:
        close, volume = inputs
        values = (close * volume, volume, close * volume, volume)
        parts = [one.step(old, value) for one, old, value in zip(averages, state[:4], values, strict=True)]
        macd = ratio(parts[0][1], parts[1][1]) - ratio(parts[2][1], parts[3][1])
        signals, line = smooth.step(state[4], macd)
        return (*(one for one, _ in parts), signals), (macd, line, macd - line)

    return Recursive(start, step, OUTPUTS, lookback=max(fast, slow) + signal - 1)
