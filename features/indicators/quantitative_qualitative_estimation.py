"""Quantitative qualitative estimation."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import RelativeStrength, State, Stepped, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

OUTPUTS = ("rsi", "line", "direction")


@indicator(outputs=OUTPUTS, group="momentum indicators", reference="Roman Ignatov; pandas-ta: qqe")
def qqe(length: int = 14, smooth: int = 5, factor: float = 4.236) -> Operator:
    """Smoothed RSI, a line that trails it, and which of them is above (1 the RSI, -1 the line).

    The line stays `factor` twice-averaged absolute changes of the smoothed RSI away from it (averages of `2
    length - 1` values), rises only while the RSI is above it and falls only while below.
    """
    at_least(1, length=length, smooth=smooth)
    strength, average = RelativeStrength(length), exponential(smooth)
    ranges = exponential(2 * length - 1)

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        parts = (average.start(symbols), ranges.start(symbols), ranges.start(symbols))
        return (unseen, strength.start(symbols), *parts, unseen, unseen, unseen)

    def step(state: State, inputs: State) -> Stepped:
        previous, strengths, averages, first, second, before, line, direction = state
        strengths, index = strength.step(strengths, inputs[0] - previous)
        averages, rsi = average.step(averages, index)
        first, once = ranges.step(first, np.abs(rsi - before))
        second, twice = ranges.step(second, once)
        lower, upper = rsi - factor * twice, rsi + factor * twice
        above = np.where(np.isfinite(line), rsi > line, rsi >= 50.0)
        held = np.where(above & (before > line), np.maximum(lower, line), lower)
        capped = np.where(~above & (before < line), np.minimum(upper, line), upper)
        line = np.where(above, held, capped)
        direction = np.where(np.isfinite(line), np.where(above, 1.0, -1.0), np.nan)
        before = np.where(np.isfinite(rsi), rsi, before)
        return (inputs[0], strengths, averages, first, second, before, line, direction), (
            rsi,
            line,
            direction,
        )

    return Recursive(start, step, OUTPUTS, lookback=5 * length + smooth - 3)
