"""The smoothed relative strength RSX."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import Array, State, Stepped, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

STAGES = 3


@indicator(group="momentum indicators", reference="Jurik Research; Everget: RSX")
def rsx(length: int = 14) -> Operator:
    """Smoothed RSI with little lag, 0 to 100; 50 where nothing changed.

    Changes and absolute changes each pass three stages of two exponential averages (weight `3 / (length +
    2)`); a stage passes on 1.5 times the first less half the second.
    """
    at_least(1, length=length)
    weight = 3.0 / (length + 2.0)

    def start(symbols: int) -> State:
        return np.full(symbols, np.nan), np.zeros((symbols, 2 * STAGES)), np.zeros((symbols, 2 * STAGES))

    def step(state: State, inputs: State) -> Stepped:
        change = inputs[0] - np.where(np.isfinite(state[0]), state[0], inputs[0])
        signed, rise = _stages(state[1], change, weight)
        absolute, moved = _stages(state[2], np.abs(change), weight)
        share = np.where(moved > 0.0, rise / np.where(moved > 0.0, moved, 1.0), 0.0)
        return (inputs[0], signed, absolute), (np.clip(50.0 * (share + 1.0), 0.0, 100.0),)

    return Recursive(start, step, lookback=length)


def _stages(state: Array, value: Array, weight: float) -> tuple[Array, Array]:
    """Return the averages after `value`, and the output of the last stage."""
    after = np.empty_like(state)
    for stage in range(0, 2 * STAGES, 2):
        first = state[:, stage] + weight * (value - state[:, stage])
        second = state[:, stage + 1] + weight * (first - state[:, stage + 1])
        after[:, stage], after[:, stage + 1] = first, second
        value = 1.5 * first - 0.5 * second
    return after, value
