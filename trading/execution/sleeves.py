"""Sleeves: virtual books of capital, and what each still waits for.

A canary is a share of the sleeves. Each has its own cash and positions, in `Decimal`; the broker sees
only their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from alphaloop.costs import CENT
from alphaloop.decision.obtainable_price import value
from alphaloop.errors import VendorError
from alphaloop.orders import Fill, Order, Position
from trading.execution.netting import ZERO, Allocation, allocate, subtract


@dataclass(slots=True)
class Book:
    """One sleeve: cash, quantities `[symbols]`, and what it has paid and traded since it began."""

    name: str
    cash: Decimal
    quantities: list[Decimal]
    costs: Decimal = ZERO
    traded: Decimal = ZERO

    def equity(self, prices: Sequence[Decimal | None]) -> Decimal:
        """Cash and positions at `prices`, exactly."""
        return self.cash + value(self.quantities, prices)

    def book(self, index: int, quantity: Decimal, price: Decimal, cost: Decimal) -> None:
        """Book a signed `quantity` of the symbol at `index`, paid for at `price` and `cost`."""
        notional = quantity * price
        self.cash -= notional + cost
        self.quantities[index] += quantity
        self.costs += cost
        self.traded += abs(notional)

    def entitle(self, index: int, quantity: Decimal, paid: Decimal) -> None:
        """Hold `quantity` of the symbol at `index` after a corporate action, and take what it `paid`."""
        self.quantities[index] = quantity
        self.cash += paid


@dataclass(slots=True)
class Working:
    """A change that sleeves wait for: `order` is `None` where they only cross among themselves."""

    decision_id: str
    symbol: str
    wanted: tuple[Decimal, ...]
    order: Order | None = None


@dataclass(slots=True)
class Sleeves:
    """All books, in a fixed order, and the changes they wait for."""

    symbols: tuple[str, ...]
    books: list[Book]
    working: dict[str, Working] = field(default_factory=dict)
    crossing: list[Working] = field(default_factory=list)

    @classmethod
    def funded(cls, symbols: tuple[str, ...], names: Sequence[str], capital: Decimal) -> Sleeves:
        """Share `capital` out equally, to the cent; the first book takes the remainder."""
        share = (capital / len(names)).quantize(CENT, ROUND_DOWN)
        books = [Book(name, share, [ZERO] * len(symbols)) for name in names]
        books[0].cash += capital - share * len(names)
        return cls(symbols, books)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(book.name for book in self.books)

    @property
    def waiting(self) -> frozenset[str]:
        """The symbols with a change under way: nothing new is decided for them."""
        return frozenset(one.symbol for one in (*self.working.values(), *self.crossing))

    def equity(self, prices: Sequence[Decimal | None]) -> Decimal:
        """Cash and positions of all books at `prices`, exactly."""
        return sum((book.equity(prices) for book in self.books), ZERO)

    def positions(self) -> list[Position]:
        """What all books hold together: what the broker should hold."""
        totals = [sum(column, ZERO) for column in zip(*(b.quantities for b in self.books), strict=True)]
        return [Position(symbol, total) for symbol, total in zip(self.symbols, totals, strict=True)]

    def expect(self, change: Working) -> None:
        """Wait for the fills of an order, or for the price at which to cross."""
        if change.order is None:
            self.crossing.append(change)
        else:
            self.working[change.order.client_order_id] = change

    def allocate(self, fills: Sequence[Fill]) -> list[Allocation]:
        """Share each of `fills` out, in order; nothing is booked yet.

        Raises `VendorError` for a fill that belongs to no open order, or is more than was ordered.
        """
        left = {name: change.wanted for name, change in self.working.items()}
        allocations = []
        for fill in fills:
            if fill.client_order_id not in left:
                raise VendorError(
                    f"the broker reports a fill of order {fill.client_order_id} ({fill.side} {fill.quantity} "
                    f"{fill.symbol}), which is not open here; reconcile before trading on"
                )
            allocation = allocate(fill, left[fill.client_order_id])
            left[fill.client_order_id] = subtract(left[fill.client_order_id], allocation.quantities)
            allocations.append(allocation)
        return allocations

    def book_fill(self, fill: Fill, allocation: Allocation) -> None:
        """Book a shared-out fill, and wait for what is left of its order."""
        self.book(allocation)
        change = self.working[fill.client_order_id]
        change.wanted = subtract(change.wanted, allocation.quantities)
        if not any(change.wanted):
            del self.working[fill.client_order_id]

    def book_cross(self, change: Working, price: Decimal) -> None:
        """Book changes that cancel out between sleeves, at `price` and without cost."""
        self.book(Allocation(change.symbol, price, change.wanted, (ZERO,) * len(change.wanted)))
        self.crossing.remove(change)

    def book(self, allocation: Allocation) -> None:
        """Book each sleeve's part of one execution."""
        index = self.symbols.index(allocation.symbol)
        for book, quantity, cost in zip(self.books, allocation.quantities, allocation.costs, strict=True):
            if quantity or cost:
                book.book(index, quantity, allocation.price, cost)
