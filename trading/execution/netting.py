"""Netting: from the sleeves' changes to one order per symbol, and from its fills back.

Every sleeve gets its own change at the one price of the net order. Where some sleeves buy and some sell, only
the difference goes to the market, so that sleeves never trade against each other there; fills and their
costs are allocated pro rata. Everything is exact: shares are rounded cumulatively, so that they add up to the
whole (Bresenham's way of spreading a remainder), and no share exceeds or opposes the sleeve's change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from alphaloop.costs import CENT
from alphaloop.errors import VendorError
from alphaloop.orders import Fill

LOT = Decimal("0.0001")
"""Smallest quantity that is traded or booked."""

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Allocation:
    """One execution allocated to sleeves: signed `quantities` and `costs`, which add up to the fill."""

    symbol: str
    price: Decimal
    quantities: tuple[Decimal, ...]
    costs: tuple[Decimal, ...]


def share_quantity(filled: Decimal, wanted: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Allocate `filled` (signed) to the sleeves' `wanted` (signed) changes, pro rata, to the lot.

    The shares add up to `filled`; each has the sign of its sleeve's change and is no larger. Raises
    `VendorError` if more was filled than is wanted, or on the other side.
    """
    net = sum(wanted, ZERO)
    if filled == net:
        return tuple(wanted)
    if net == 0 or filled / net < 0 or abs(filled) > abs(net):
        raise VendorError(f"a fill of {filled} does not belong to an order of which {net} is open")
    return _spread(filled, wanted, LOT)


def share_cost(cost: Decimal, quantities: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Allocate `cost` to the sleeves by traded quantity, to the cent.

    The shares add up to `cost`.
    """
    sizes = [abs(quantity) for quantity in quantities]
    if not any(sizes):
        return (cost, *[ZERO] * (len(sizes) - 1))
    return _spread(cost, sizes, CENT)


def round_to_lot(wanted: Sequence[Decimal], lot: Decimal) -> tuple[Decimal, ...]:
    """Reduce the sleeves' changes so that their sum is a whole number of lots, rounded toward zero.

    Sleeves on the side of the net order give way, pro rata; what crosses between sleeves stays.

    Parameters
    ----------
    wanted : sequence of Decimal, one a sleeve
        Signed changes.
    lot : Decimal
        Smallest quantity that the venue trades.

    Returns
    -------
    tuple of Decimal, one a sleeve
        Changes of the same signs, none larger.

    Examples
    --------
    >>> [str(one) for one in round_to_lot([Decimal("1.5"), Decimal("0.7"), Decimal("-0.4")], Decimal(1))]
    ['0.9545', '0.4455', '-0.4']
    """
    net = sum(wanted, ZERO)
    rounded = net // lot * lot
    if rounded == net:
        return tuple(wanted)
    giving = [one if one * net > 0 else ZERO for one in wanted]
    kept = _spread(rounded - net + sum(giving, ZERO), giving, LOT)
    return tuple(part if gives else one for one, gives, part in zip(wanted, giving, kept, strict=True))


def allocate_fill(fill: Fill, wanted: Sequence[Decimal]) -> Allocation:
    """Allocate `fill` to the changes that the sleeves still have `wanted` in its order."""
    quantities = share_quantity(fill.signed_quantity, wanted)
    return Allocation(fill.symbol, fill.price, quantities, share_cost(fill.cost, quantities))


def subtract_quantities(wanted: Sequence[Decimal], got: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Return the remainder of `wanted` after `got`, sleeve by sleeve."""
    return tuple(one - part for one, part in zip(wanted, got, strict=True))


def _spread(amount: Decimal, weights: Sequence[Decimal], step: Decimal) -> tuple[Decimal, ...]:
    # A venue may fill or charge in smaller steps than ours.
    exponent = amount.as_tuple().exponent
    step = min(step, Decimal(1).scaleb(exponent)) if isinstance(exponent, int) else step
    total = sum(weights, ZERO)
    shares, running, allocated = [], ZERO, ZERO
    for weight in weights:
        if weight:
            running += weight
            cumulative = (amount * running / total).quantize(step, ROUND_HALF_EVEN)
            shares.append(cumulative - allocated)
            allocated = cumulative
        else:
            shares.append(ZERO)
    return tuple(shares)
