"""Corporate actions in the books: quantities, cash and open changes of every sleeve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from alphaloop.decision.entitlements import Entitlement
from alphaloop.decision.obtainable_price import booked_price
from alphaloop.orders import Order
from trading.execution.netting import LOT, ZERO, round_to_lot
from trading.execution.sleeves import OpenChange, Sleeves

PAYMENT_STEP = Decimal("1e-8")
"""Smallest step in which entitlements are paid.

It is fine enough that no sleeve gains or loses by a split.
"""


@dataclass(frozen=True, slots=True)
class BookedCorporateAction:
    """A corporate action as booked at the bar `as_of`; tuples are by sleeve.

    `adjustment` is the factor that the books are based on afterwards, `payment` the money for each unit held
    before, `held_before` the units of all sleeves before, `quantities` the units afterwards, `cash` the money
    paid (also for a fraction of a lot), and `open` the remaining open changes, in new units.
    """

    symbol: str
    as_of: datetime
    new: int
    old: int
    payment: Decimal
    adjustment: float
    held_before: Decimal
    quantities: tuple[Decimal, ...]
    cash: tuple[Decimal, ...]
    open: tuple[OpenChange, ...]

    @property
    def gained_units(self) -> Decimal:
        """Units that all sleeves together gain."""
        return sum(self.quantities, ZERO) - self.held_before

    @property
    def orders(self) -> tuple[Order, ...]:
        """Orders that stay open at the broker, in new units."""
        return tuple(change.order for change in self.open if change.order is not None)

    @property
    def words(self) -> str:
        """The action in words, as `AAPL 2:1 split` or `IBM 0.15 a unit`."""
        parts = [f"{self.new}:{self.old} split"] if self.new != self.old else []
        parts += [f"{self.payment.normalize():f} a unit"] if self.payment else []
        return f"{self.symbol} {' and '.join(parts)}"

    def to_body(self) -> dict[str, Any]:
        """Return the body of a `corporate_action` record."""
        return {
            "symbol": self.symbol,
            "as_of": self.as_of.isoformat(),
            "new_units": self.new,
            "old_units": self.old,
            "payment": str(self.payment),
            "adjustment": self.adjustment,
            "quantities": list(map(str, self.quantities)),
            "cash": list(map(str, self.cash)),
            "open": [
                {"decision_id": one.decision_id, "wanted": list(map(str, one.wanted))} for one in self.open
            ],
        }


def entitle_sleeves(
    portfolio: Sleeves,
    due: Entitlement,
    price: Decimal,
    adjustment: float,
    as_of: datetime,
    lot: Decimal = LOT,
) -> BookedCorporateAction:
    """Compute every sleeve's entitlement to `due`, without booking it.

    `price` is the last before the action. A fraction of `LOT` that a split leaves is paid in money at that
    price, so that the value of every sleeve stays the same. Open orders are whole numbers of `lot`.
    """
    index = portfolio.symbols.index(due.symbol)
    payment = booked_price(due.payment) if due.payment else ZERO
    new_price = price * due.old / due.new
    quantities, cash = [], []
    for book in portfolio.books:
        exact = due.units(book.quantities[index])
        whole = _lots(exact) if due.is_split else exact
        quantities.append(whole)
        paid = book.quantities[index] * payment + (exact - whole) * new_price
        cash.append(paid.quantize(PAYMENT_STEP))
    changes = [*portfolio.working.values(), *portfolio.crossing]
    converted = [convert_change(change, due, lot) for change in changes if change.symbol == due.symbol]
    return BookedCorporateAction(
        due.symbol,
        as_of,
        due.new,
        due.old,
        payment,
        adjustment,
        sum((book.quantities[index] for book in portfolio.books), ZERO),
        tuple(quantities),
        tuple(cash),
        tuple(change for change in converted if change is not None),
    )


def convert_change(change: OpenChange, due: Entitlement, lot: Decimal = LOT) -> OpenChange | None:
    """Convert the remainder of `change` to the units after the action.

    None where it is less than a `lot`.
    """
    if not due.is_split:
        return with_quantities(change, change.wanted)
    wanted = [_lots(due.units(one)) for one in change.wanted]
    return with_quantities(change, wanted if change.order is None else round_to_lot(wanted, lot))


def with_quantities(change: OpenChange, wanted: Sequence[Decimal]) -> OpenChange | None:
    """Replace the quantities of `change` by `wanted`; None where nothing tradable remains."""
    net = sum(wanted, ZERO)
    if change.order is None:
        return (
            OpenChange(change.decision_id, change.symbol, tuple(wanted)) if any(wanted) and not net else None
        )
    if net * change.order.side.sign <= 0:
        return None
    order = replace(change.order, quantity=abs(net))
    return OpenChange(change.decision_id, change.symbol, tuple(wanted), order)


def book_corporate_action(portfolio: Sleeves, entitled: BookedCorporateAction) -> None:
    """Book the quantities, cash and open changes of `entitled`."""
    index = portfolio.symbols.index(entitled.symbol)
    for one, quantity, paid in zip(portfolio.books, entitled.quantities, entitled.cash, strict=True):
        one.entitle(index, quantity, paid)
    _replace_open(portfolio, entitled.symbol, entitled.open)


def is_affected(portfolio: Sleeves, symbol: str) -> bool:
    """Test whether some sleeve holds `symbol` or has an open change in it."""
    index = portfolio.symbols.index(symbol)
    return symbol in portfolio.waiting or any(one.quantities[index] for one in portfolio.books)


def _replace_open(portfolio: Sleeves, symbol: str, changes: Sequence[OpenChange]) -> None:
    for name in [name for name, one in portfolio.working.items() if one.symbol == symbol]:
        del portfolio.working[name]
    portfolio.crossing = [one for one in portfolio.crossing if one.symbol != symbol]
    for change in changes:
        portfolio.expect(replace(change))  # a copy, because fills reduce it and the record must not change


def _lots(quantity: Decimal) -> Decimal:
    return quantity.quantize(LOT, ROUND_DOWN)
