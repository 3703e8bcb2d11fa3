"""Williams' alligator and his gator oscillator."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.smoothing import State, Stepped, Trailing, at_least, wilder
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive

LINES = ("jaw", "teeth", "lips")
GATOR = ("upper", "lower")


@indicator(("high", "low"), LINES, group="overlap studies", reference="Williams 1995")
def alligator(jaw: int = 13, teeth: int = 8, lips: int = 5) -> Operator:
    """Three smoothed averages of the median price, as a chart that draws them ahead shows them at this bar.

    Wilder's averages of `jaw`, `teeth` and `lips` bars, from 8, 5 and 3 bars ago.
    """
    return _alligator(jaw, teeth, lips, gator=False)


@indicator(("high", "low"), GATOR, group="momentum indicators", reference="Williams 1995")
def gator(jaw: int = 13, teeth: int = 8, lips: int = 5) -> Operator:
    """Mouth of the alligator: jaw minus teeth, upwards; teeth minus lips, downwards."""
    return _alligator(jaw, teeth, lips, gator=True)


def _alligator(jaw: int, teeth: int, lips: int, gator: bool) -> Operator:
    at_least(1, jaw=jaw, teeth=teeth, lips=lips)
    averages = [wilder(length) for length in (jaw, teeth, lips)]
    ages = [Trailing(ago + 1) for ago in (8, 5, 3)]

    def start(symbols: int) -> State:
        lines = [one.start(symbols) for one in averages]
        return (*lines, *(one.start(symbols) for one in ages))

    def step(state: State, inputs: State) -> Stepped:
        median = inputs[0] / 2.0 + inputs[1] / 2.0
        moved = [one.step(old, median) for one, old in zip(averages, state[:3], strict=True)]
        aged = [age.step(old, line) for age, old, (_, line) in zip(ages, state[3:], moved, strict=True)]
        lines = tuple(one[:, 0] for one in aged)
        after = (*(one for one, _ in moved), *aged)
        if gator:
            return after, (np.abs(lines[0] - lines[1]), -np.abs(lines[1] - lines[2]))
        return after, lines

    return Recursive(start, step, GATOR if gator else LINES, lookback=max(jaw + 8, teeth + 5, lips + 3))
