"""Connors' RSI."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.smoothing import RelativeStrength, State, Stepped, Trailing, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


@indicator(group="momentum indicators", reference="Connors & Alvarez 2012")
def connors_rsi(length: int = 3, streak: int = 2, rank: int = 100) -> Operator:
    """Mean of three: RSI of the close, RSI of the run of ups and downs, rank of the last return.

    The rank is the percentage of the `rank` returns before it that the last one-bar return exceeds.
    """
    at_least(1, length=length, streak=streak, rank=rank)
    closes, runs, returns = RelativeStrength(length), RelativeStrength(streak), Trailing(rank + 1)

    def start(symbols: int) -> State:
        unseen = np.full(symbols, np.nan)
        return unseen, unseen, closes.start(symbols), runs.start(symbols), returns.start(symbols)

    def step(state: State, inputs: State) -> Stepped:
        close = inputs[0]
        previous, run = state[0], state[1]
        change = close - previous
        direction = np.sign(change)
        counted = np.where(np.sign(run) == direction, run + direction, direction)
        after = np.where(np.isfinite(change), counted, 0.0)
        strength, of_close = closes.step(state[2], change)
        streaks, of_run = runs.step(state[3], after - run)
        moved = np.where(np.isfinite(change), np.nan_to_num(ratio(change, previous)), np.nan)
        past = returns.step(state[4], moved)
        ranked = 100.0 * (past[:, :-1] < past[:, -1:]).sum(axis=1) / rank
        value = np.where(np.isfinite(past[:, 0]), (of_close + of_run + ranked) / 3.0, np.nan)
        return (close, after, strength, streaks, past), (value,)

    return Recursive(start, step, lookback=max(length, streak, rank + 1) + 1)
