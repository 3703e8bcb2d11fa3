"""Entitlements: units and money that a holder gets when the adjustment factor steps.

A bar carries the price as traded and the forward factor to the adjusted price. A step of the factor is a
corporate action: a split changes the number of units; everything else (dividend, spin-off) is paid in money.
A step close to a ratio of small whole numbers, and larger than a dividend, is a split; the remainder beside
a split is a dividend of the same day.

The payment follows from the definition of the factor, `price / (price - payment)` with the last price before
the action (Center for Research in Security Prices, Data Descriptions Guide, "Factor to Adjust Price"): a
holder gets the declared sum, whatever the price does on the day.
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
"""Smallest step, up or down, that can be a split.

Smaller stock dividends are paid out in money.
"""
MAX_SPLIT_TERM = 10
"""Largest whole number in a split such as 7:4; `n:1` and `1:n` may be larger."""
MAX_SPLIT = 10_000
"""Largest ratio of a split."""
SPLIT_TOLERANCE = 0.005
"""Relative distance from a ratio such as 3:2 within which a step is this split.

What remains of the step is a dividend of the same day.
"""
WHOLE_SPLIT_TOLERANCE = 0.03
"""The same tolerance for `n:1` and `1:n`, which have no other ratios near them."""
MIN_PAYMENT = 5e-4
"""Smallest payment beside a split, as a share of the price.

Anything less is the rounding of the factor.
"""
MIN_FACTOR_STEP = 1e-7
"""Smallest relative change of the factor that is a corporate action.

Anything less is the rounding of stored numbers.
"""


@dataclass(frozen=True, slots=True)
class Entitlement:
    """Units and money that a corporate action gives a holder.

    Each `old` units become `new` ones, and each unit held before the action is paid `payment` in money.
    """

    symbol: str
    new: int = 1
    old: int = 1
    payment: float = 0.0

    @property
    def is_split(self) -> bool:
        """True if the number of units changes."""
        return self.new != self.old

    @property
    def ratio(self) -> float:
        """Units after the action for each unit before it."""
        return self.new / self.old

    def units(self, quantity: Decimal) -> Decimal:
        """Convert `quantity` to units after the action, without rounding."""
        return quantity * self.new / self.old


def infer_entitlement(symbol: str, step: float, price: float) -> Entitlement | None:
    """Infer the entitlement behind a step of the adjustment factor; None where nothing happened.

    Parameters
    ----------
    symbol : str
        The symbol that is held.
    step : float
        The factor after the action divided by the factor before it.
    price : float
        The last price before the action, in money per unit.
    """
    if not (np.isfinite(step) and step > 0) or abs(step - 1.0) < MIN_FACTOR_STEP:
        return None
    split = _split(step)
    left = step / float(split)
    paid = 1.0 - 1.0 / left
    payment = price * paid if split == 1 or abs(paid) >= MIN_PAYMENT else 0.0
    return Entitlement(symbol, split.numerator, split.denominator, payment)


def infer_entitlements(
    symbols: Sequence[str], before: Vector, after: Vector, prices: Vector
) -> list[tuple[int, Entitlement]]:
    """Infer the entitlements between two bars, each with the index of its symbol.

    `before` and `after` are adjustment factors and `prices` the last prices before the action, all
    `[symbols]`. A symbol with NaN in one of the three has no entitlement.
    """
    known = np.isfinite(before) & np.isfinite(after) & np.isfinite(prices)
    changed = np.flatnonzero(known & (before != after)).tolist()
    candidates = (
        (index, infer_entitlement(symbols[index], float(after[index] / before[index]), float(prices[index])))
        for index in changed
    )
    return [(index, one) for index, one in candidates if one is not None]


def is_split_confirmed(due: Entitlement, before: float, after: float) -> bool:
    """Test whether the prices confirm the split.

    They do if the move between `before` and `after`, corrected for the split, is smaller than half of the
    split.
    """
    return due.is_split and bool(2 * abs(np.log(after * due.ratio / before)) < abs(np.log(due.ratio)))


def _split(step: float) -> Fraction:
    """Return the split nearest to `step`; 1 where there is none."""
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
