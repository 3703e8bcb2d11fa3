"""The relative momentum index."""

from __future__ import annotations

from features.engine.arithmetic.smoothing import RelativeStrength, State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="momentum indicators", reference="Altman 1993")
def relative_momentum(length: int = 20, momentum: int = 5) -> Operator:
    """RSI of changes over `momentum` bars instead of one, 0 to 100; 50 where nothing changed."""
    at_least(1, length=length, momentum=momentum)
    closes, strength = Trailing(momentum + 1), RelativeStrength(length)

    def start(symbols: int) -> State:
        return closes.start(symbols), strength.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        recent = closes.step(state[0], inputs[0])
        strengths, index = strength.step(state[1], recent[:, -1] - recent[:, 0])
        return (recent, strengths), (index,)

    return Recursive(start, step, lookback=length + momentum)
