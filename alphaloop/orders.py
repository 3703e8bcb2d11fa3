"""Orders, fills and positions, with quantities and money in `Decimal`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """The direction of an order: buy or sell."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        """1 for a purchase, -1 for a sale."""
        return 1 if self is Side.BUY else -1


@dataclass(frozen=True, slots=True)
class Order:
    """A market order for the next obtainable price.

    Parameters
    ----------
    client_order_id : str
        Identifier that makes a retry idempotent; see `client_order_id`.
    symbol : str
        The symbol.
    side : Side
        Buy or sell.
    quantity : Decimal
        Units, above 0.
    decided_at : datetime
        Close of the bar at which the order was decided.
    decision_id : str
        Identifier of the decision in the journal.
    simulated : bool
        True for an order priced on adjusted data, which no market traded.

    Raises
    ------
    ValueError
        For a quantity that is not positive.

    Examples
    --------
    >>> from datetime import UTC, datetime
    >>> decided_at = datetime(2020, 3, 16, 20, tzinfo=UTC)
    >>> order = Order("al-1", "AAPL", Side.SELL, Decimal(5), decided_at, "paper/2020-03-16")
    >>> order.signed_quantity
    Decimal('-5')
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    decided_at: datetime
    decision_id: str
    simulated: bool = False

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(
                f"order {self.client_order_id}: quantity is {self.quantity}; it must be positive"
            )

    @property
    def signed_quantity(self) -> Decimal:
        """Quantity with the sign of the side."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution of all or part of an order.

    Parameters
    ----------
    client_order_id, symbol : str
        The order and its symbol.
    side : Side
        Buy or sell.
    quantity : Decimal
        Units filled, above 0.
    price : Decimal
        Price of one unit.
    cost : Decimal
        Commission and spread, in the currency of the book.
    filled_at : datetime
        Time of the fill.
    """

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    cost: Decimal
    filled_at: datetime

    @property
    def signed_quantity(self) -> Decimal:
        """Quantity with the sign of the side."""
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Position:
    """A holding of one symbol; a negative quantity is short."""

    symbol: str
    quantity: Decimal = Decimal(0)

    def after(self, fill: Fill) -> Position:
        """Return the position after `fill` is booked."""
        return Position(self.symbol, self.quantity + fill.signed_quantity)


def client_order_id(decision_id: str, symbol: str) -> str:
    """Derive an order's identifier from its decision, so that a retry cannot double the order."""
    return "al-" + hashlib.sha256(f"{decision_id}/{symbol}".encode()).hexdigest()[:24]
