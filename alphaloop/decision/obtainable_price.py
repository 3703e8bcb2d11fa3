"""The first price at which a decision can be filled, and prices as booked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Slice

PRICE_DECIMALS = 8
"""Decimal places of a booked price of 1 or more.

They suffice for every venue, and quantity × price is exact.
"""


def booked_price(price: float) -> Decimal:
    """Round `price` half-even to a Decimal, with at least nine significant digits."""
    leading = 0 if price >= 1 or price == 0 else max(-math.floor(math.log10(abs(price))), 0)
    return Decimal(f"{price:.{PRICE_DECIMALS + leading}f}")


def obtainable_prices(bars: Slice) -> npt.NDArray[np.float64]:
    """Return the first price that an earlier decision can get: the open, else the close.

    float64 `[symbols]`, NaN where the symbol did not trade.
    """
    return np.where(np.isfinite(bars.open), bars.open, bars.close)


def holdings_value(quantities: Sequence[Decimal], prices: Sequence[Decimal | None]) -> Decimal:
    """Return the exact value of `quantities` at `prices`.

    A symbol that never had a price counts as 0.
    """
    total = Decimal(0)
    for quantity, price in zip(quantities, prices, strict=True):
        if price is not None:
            total += quantity * price
    return total
