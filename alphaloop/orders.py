"""Orders, fills and positions: what is booked, in `Decimal`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    """The direction of an order."""

    BUY = "buy"
    SELL = "sell"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


@dataclass(frozen=True, slots=True)
class Order:
    """A market order for the next obtainable price.

    `quantity` is positive. `simulated` marks orders priced on adjusted data, which no market traded.
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
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Fill:
    """An execution of (part of) an order: `cost` is commission and spread, in the currency booked."""

    client_order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    cost: Decimal
    filled_at: datetime

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.side.sign


@dataclass(frozen=True, slots=True)
class Position:
    """A holding of one symbol; negative is short."""

    symbol: str
    quantity: Decimal = Decimal(0)

    def after(self, fill: Fill) -> Position:
        """The position once `fill` is booked."""
        return Position(self.symbol, self.quantity + fill.signed_quantity)


def client_order_id(decision_id: str, symbol: str) -> str:
    """An id that the same decision always gives again, so that a retry cannot double an order."""
    return "al-" + hashlib.sha256(f"{decision_id}/{symbol}".encode()).hexdigest()[:24]
