"""John Ehlers' filters of the price: smoother, roofing filter, decycler and sinewave."""

from __future__ import annotations

import math

import numpy as np

from features.engine.arithmetic.parameters import require_between
from features.engine.arithmetic.smoothing import Array, State, Stepped, at_least
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.recursive import Recursive


def _low_pass(length: float) -> tuple[float, float, float]:
    """Return the two-pole smoother's weights of the input and of the last two outputs."""
    decay = math.exp(-math.sqrt(2.0) * math.pi / length)
    second = 2.0 * decay * math.cos(math.sqrt(2.0) * math.pi / length)
    third = -decay * decay
    return 1.0 - second - third, second, third


def _first(state: Array, value: Array) -> Array:
    return np.where(np.isfinite(state), state, value)


@indicator(group="overlap studies", reference="Ehlers 2013, Cycle Analytics for Traders")
def super_smoother(length: int = 10) -> Operator:
    """Two-pole low-pass filter that passes periods longer than `length` bars; starts at the price."""
    at_least(2, length=length)
    first, _, third = _low_pass(length)

    def start(symbols: int) -> State:
        return tuple(np.full(symbols, np.nan) for _ in range(3))

    def step(state: State, inputs: State) -> Stepped:
        price = inputs[0]
        previous, last, older = (_first(one, price) for one in state)
        smooth = first * ((price - last) + (previous - last)) / 2.0 + last + third * (older - last)
        return (price, smooth, last), (smooth,)

    return Recursive(start, step, lookback=length)


@indicator(group="overlap studies", reference="Ehlers 2015, Decyclers")
def decycler(length: int = 60) -> Operator:
    """Price without its cycles shorter than `length` bars: price minus its one-pole high-pass."""
    at_least(4, length=length)
    angle = 2.0 * math.pi / length
    weight = (math.cos(angle) + math.sin(angle) - 1.0) / math.cos(angle) if length != 4 else 1.0

    def start(symbols: int) -> State:
        return np.full(symbols, np.nan), np.full(symbols, np.nan)

    def step(state: State, inputs: State) -> Stepped:
        price = inputs[0]
        previous, line = _first(state[0], price), _first(state[1], price)
        after = line + weight * ((price / 2.0 + previous / 2.0) - line)
        return (price, after), (after,)

    return Recursive(start, step, lookback=length)


@indicator(group="cycle indicators", reference="Ehlers 2013, Cycle Analytics for Traders")
def roofing_filter(longest: int = 48, shortest: int = 10) -> Operator:
    """Price's cycles of `shortest` to `longest` bars: a two-pole high-pass, then the smoother."""
    at_least(2, shortest=shortest)
    at_least(shortest + 1, longest=longest)
    angle = math.sqrt(0.5) * 2.0 * math.pi / longest
    alpha = (math.cos(angle) + math.sin(angle) - 1.0) / math.cos(angle)
    gain, kept = (1.0 - alpha / 2.0) ** 2, 1.0 - alpha
    first, second, third = _low_pass(shortest)

    def start(symbols: int) -> State:
        prices = [np.full(symbols, np.nan) for _ in range(2)]
        return (*prices, *(np.zeros(symbols) for _ in range(4)))

    def step(state: State, inputs: State) -> Stepped:
        price = inputs[0]
        last, older = _first(state[0], price), _first(state[1], price)
        high, earlier, smooth, before = state[2:]
        passed = gain * ((price - last) - (last - older)) + 2.0 * kept * high - kept * kept * earlier
        after = first * (passed + high) / 2.0 + second * smooth + third * before
        return (price, last, passed, high, after, smooth), (after,)

    return Recursive(start, step, lookback=longest)


@indicator(group="cycle indicators", reference="Ehlers 2013, Cycle Analytics for Traders")
def even_better_sinewave(length: int = 40, shortest: int = 10) -> Operator:
    """Phase of the price cycle, -1 to 1: a smoothed one-pole high-pass over its root mean square.

    0 while there is no cycle at all.
    """
    at_least(5, length=length)
    at_least(2, shortest=shortest)
    angle = 2.0 * math.pi / length
    kept = (1.0 - math.sin(angle)) / math.cos(angle)
    first, second, third = _low_pass(shortest)

    def start(symbols: int) -> State:
        return (np.full(symbols, np.nan), *(np.zeros(symbols) for _ in range(3)))

    def step(state: State, inputs: State) -> Stepped:
        price = inputs[0]
        last = _first(state[0], price)
        high, filtered, older = state[1:]
        passed = 0.5 * (1.0 + kept) * (price - last) + kept * high
        smooth = first * (passed + high) / 2.0 + second * filtered + third * older
        wave = (smooth + filtered + older) / 3.0
        power = np.sqrt((smooth * smooth + filtered * filtered + older * older) / 3.0)
        value = np.where(power > 0.0, wave / np.where(power > 0.0, power, 1.0), 0.0)
        return (price, passed, smooth, filtered), (value,)

    return Recursive(start, step, lookback=length)


@indicator(
    ("high", "low"),
    ("cycle", "trigger"),
    group="cycle indicators",
    reference="Ehlers 2004, Cybernetic Analysis",
)
def cyber_cycle(alpha: float = 0.07) -> Operator:
    """Cycle in the median price, in its unit, and its value a bar ago."""
    require_between("alpha", alpha, 0.0, 1.0)
    gain, kept = (1.0 - alpha / 2.0) ** 2, 1.0 - alpha

    def start(symbols: int) -> State:
        prices = [np.full(symbols, np.nan) for _ in range(3)]
        return (
            *prices,
            *(np.full(symbols, np.nan) for _ in range(2)),
            *(np.zeros(symbols) for _ in range(2)),
        )

    def step(state: State, inputs: State) -> Stepped:
        price = inputs[0] / 2.0 + inputs[1] / 2.0
        one, two, three = (_first(value, price) for value in state[:3])
        smooth = price + ((one - price) * 2.0 + (two - price) * 2.0 + (three - price)) / 6.0
        last, older = _first(state[3], smooth), _first(state[4], smooth)
        cycle = gain * ((smooth - last) - (last - older)) + 2.0 * kept * state[5] - kept * kept * state[6]
        return (price, one, two, smooth, last, cycle, state[5]), (cycle, state[5])

    return Recursive(start, step, ("cycle", "trigger"), lookback=7)
