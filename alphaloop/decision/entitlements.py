"""Entitlements: what the holder of a symbol gets when its adjustment factor steps.

A bar carries the price as traded and the forward factor to the adjusted price. A step of the factor is a
corporate action: a split changes the number of units, everything else (dividend, spin-off) is paid in
money. A step that is close to a ratio of small whole numbers, and larger than a dividend, is a split; what
is left beside it is a dividend of the same day.

The payment follows from the way the factor was made, `price / (price - payment)` with the last price
before the action (Center for Research in Security Prices, Data Descriptions Guide, "Factor to Adjust
Price"): a holder gets the sum that was declared, whatever the price does on the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

MIN_SPLIT = 1.2
"""Smallest step, up or down, that can be a split: smaller stock dividends are paid out in money."""
MAX_SPLIT_TERM = 10
"""Largest whole number on both sides of a split such as 7:4; `n:1` and `1:n` go further."""
MAX_SPLIT = 10_000
SPLIT_TOLERANCE = 0.005
"""Relative distance from a ratio such as 3:2 within which a step is this split, and a dividend beside it."""
WHOLE_SPLIT_TOLERANCE = 0.03
"""The same for `n:1` and `1:n`, which nothing else is near."""
MIN_PAYMENT = 5e-4
"""Share of the price below which what is left beside a split is the rounding of the factor."""
MIN_STEP = 1e-7
"""Relative change of the factor below which nothing happened: the rounding of stored numbers."""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """`new` units for each `old` ones, and `payment` in money for each unit held before the action."""

    symbol: str
    new: int = 1
    old: int = 1
    payment: float = 0.0

    @property
    def is_split(self) -> bool:
        """The number of units changes."""
        return self.new != self.old

    @property
    def ratio(self) -> float:
        """Units after the action for each unit before it."""
        return self.new / self.old

    def units(self, quantity: Decimal) -> Decimal:
        """`quantity` in the units of after the action, not rounded."""
        return quantity * self.new / self.old


def entitlement(symbol: str, step: float, price: float) -> Entitlement | None:
    """The entitlement behind a step of the adjustment factor; None where nothing happened.

    Parameters
    ----------
    symbol : str
        The symbol that is held.
    step : float
        The factor after the action divided by the factor before it.
    price : float
        The last price before the action, in money a unit.
    """
    if not (np.isfinite(step) and step > 0) or abs(step - 1.0) < MIN_STEP:
        return None
    split = _split(step)
    left = step / float(split)
    paid = 1.0 - 1.0 / left
    payment = price * paid if split == 1 or abs(paid) >= MIN_PAYMENT else 0.0
    return Entitlement(symbol, split.numerator, split.denominator, payment)


def entitlements(
    symbols: Sequence[str], before: Vector, after: Vector, prices: Vector
) -> list[tuple[int, Entitlement]]:
    """The entitlements between two bars, each with its symbol's index; all arrays are `[symbols]`.

    `before` and `after` are adjustment factors, `prices` the last prices before the action. A symbol of
    which one of them is NaN has none.
    """
    known = np.isfinite(before) & np.isfinite(after) & np.isfinite(prices)
    changed = np.flatnonzero(known & (before != after)).tolist()
    found = (
        (index, entitlement(symbols[index], float(after[index] / before[index]), float(prices[index])))
        for index in changed
    )
    return [(index, one) for index, one in found if one is not None]


def is_seen(due: Entitlement, before: float, after: float) -> bool:
    """The prices before and after show the split: with it they moved less than half of what they seem to."""
    return due.is_split and bool(2 * abs(np.log(after * due.ratio / before)) < abs(np.log(due.ratio)))


def _split(step: float) -> Fraction:
    """The split behind `step`; 1 where there is none."""
    size = max(step, 1 / step)
    if size < MIN_SPLIT * (1 - SPLIT_TOLERANCE):
        return Fraction(1)
    nearest = min(_ratios(), key=lambda ratio: abs(size / float(ratio) - 1.0))
    whole = Fraction(round(size))
    if abs(size / float(nearest) - 1.0) > SPLIT_TOLERANCE:
        nearest = whole
    if not 1 < nearest <= MAX_SPLIT or abs(size / float(nearest) - 1.0) > WHOLE_SPLIT_TOLERANCE:
        return Fraction(1)
    return nearest if step > 1 else 1 / nearest


@cache
def _ratios() -> tuple[Fraction, ...]:
    terms = range(1, MAX_SPLIT_TERM + 1)
    return tuple(sorted({Fraction(new, old) for new in terms for old in terms if new >= MIN_SPLIT * old}))
