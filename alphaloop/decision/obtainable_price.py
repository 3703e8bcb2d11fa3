"""Prices as they are booked, and the price at which a decision can first be filled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Slice

DECIMALS = 8
"""Decimal places of a booked price of 1 or more: enough for every venue, and quantity × price is exact."""


def booked(price: float) -> Decimal:
    """`price` as money is booked with it: rounded half-even, to at least nine significant digits."""
    leading = 0 if price >= 1 or price == 0 else max(-math.floor(math.log10(abs(price))), 0)
    return Decimal(f"{price:.{DECIMALS + leading}f}")


def obtainable(bars: Slice) -> npt.NDArray[np.float64]:
    """The first price of these bars that an earlier decision can have: the open, else the close.

    float64 `[symbols]`, NaN where the symbol did not trade.
    """
    return np.where(np.isfinite(bars.open), bars.open, bars.close)


def value(quantities: Sequence[Decimal], prices: Sequence[Decimal | None]) -> Decimal:
    """What `quantities` are worth, exactly; a symbol that never had a price counts nothing."""
    total = Decimal(0)
    for quantity, price in zip(quantities, prices, strict=True):
        if price is not None:
            total += quantity * price
    return total
