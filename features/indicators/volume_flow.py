"""The volume flow indicator."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.parameters import require_positive
from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least, exponential
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

SPREAD = 30
"""Bars of which the usual size of a change is taken."""


@indicator(("high", "low", "close", "volume"), group="volume indicators", reference="Katsanos 2004")
def volume_flow(length: int = 130, cutoff: float = 0.2, cap: float = 2.5, smooth: int = 3) -> Operator:
    """Volume signed by the typical price's change, over average volume; an exponential average of it.

    A change counts only beyond `cutoff` standard deviations (of the last 30 log changes) times the close;
    volume counts up to `cap` times the average of the `length` bars before. NaN while that is zero.
    """
    at_least(1, length=length, smooth=smooth)
    require_positive("cap", cap)
    changes, volumes, flows, average = (
        Trailing(SPREAD),
        Trailing(length),
        Trailing(length),
        exponential(smooth),
    )

    def start(symbols: int) -> State:
        parts = [one.start(symbols) for one in (changes, volumes, flows)]
        return (np.full(symbols, np.nan), *parts, average.start(symbols))

    def step(state: State, inputs: State) -> Stepped:
        high, low, close, volume = inputs
        typical = (high + low + close) / 3.0
        growth = ratio(typical, state[0])
        recent = changes.step(state[1], np.log(np.where(growth > 0.0, growth, np.nan)))
        usual = cutoff * recent.std(axis=1) * close
        before = state[2].mean(axis=1)
        move = typical - state[0]
        direction = np.where(move > usual, 1.0, np.where(move < -usual, -1.0, 0.0))
        known = np.isfinite(usual) & np.isfinite(before)
        flow = np.where(known, direction * np.minimum(volume, cap * before), np.nan)
        traded, summed = volumes.step(state[2], volume), flows.step(state[3], flow)
        smoothed, value = average.step(state[4], ratio(summed.sum(axis=1), before))
        return (typical, recent, traded, summed, smoothed), (value,)

    return Recursive(start, step, lookback=max(SPREAD, length) + length + smooth - 1, exact=False)
