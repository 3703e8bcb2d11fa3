"""Change of a series since the previous period, so that a cumulative output starts at the calendar."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.period import WithPeriod, period_label
from features.engine.arithmetic.smoothing import State, Stepped
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(("close",), group="statistics")
def since_period(anchor: str = "session") -> Operator:
    """Change of a series since its last value in the previous period (session, day, week, month or year).

    NaN in the first period of history, whose beginning is unknown.
    """

    def start(symbols: int) -> State:
        return tuple(np.full(symbols, np.nan) for _ in range(3))

    def step(state: State, inputs: State) -> Stepped:
        period, base, last = state
        value, current = inputs
        base = np.where(period != current, last, base)
        return (current, base, value), (value - base,)

    return WithPeriod(Recursive(start, step), period_label(anchor))
