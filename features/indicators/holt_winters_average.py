"""The Holt-Winters moving average."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.parameters import require_between
from features.engine.arithmetic.smoothing import State, Stepped
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="overlap studies", reference="Winters 1960; Trubetskoy")
def holt_winters_average(level: float = 0.2, speed: float = 0.1, acceleration: float = 0.1) -> Operator:
    """Level, speed and acceleration of the close, each smoothed by its weight, and combined.

    Starts at the first close, with speed and acceleration of zero.
    """
    for name, weight in (("level", level), ("speed", speed), ("acceleration", acceleration)):
        require_between(name, weight, 0.0, 1.0)

    def start(symbols: int) -> State:
        return np.full(symbols, np.nan), np.zeros(symbols), np.zeros(symbols)

    def step(state: State, inputs: State) -> Stepped:
        last, moving, pushing = np.where(np.isfinite(state[0]), state[0], inputs[0]), state[1], state[2]
        ahead = last + moving + 0.5 * pushing
        place = ahead + level * (inputs[0] - ahead)
        pace = moving + pushing + speed * ((place - last) - (moving + pushing))
        push = pushing + acceleration * ((pace - moving) - pushing)
        return (place, pace, push), (place + pace + 0.5 * push,)

    return Recursive(start, step, lookback=4)
