"""Capital sleeves: virtual books of the capital, and their open changes.

A canary is a share of the sleeves, which `alphaloop.sleeve_plan` assigns. Each sleeve has its own cash and
positions, in `Decimal`; the broker sees only their sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal

from alphaloop.costs import CENT
from alphaloop.decision.obtainable_price import holdings_value
from alphaloop.errors import VendorError
from alphaloop.orders import Fill, Order, Position
from trading.execution.netting import ZERO, Allocation, allocate_fill, subtract_quantities


@dataclass(slots=True)
class SleeveBook:
    """The book of one sleeve: cash, quantities `[symbols]`, and costs and notional since the start."""

    name: str
    cash: Decimal
    quantities: list[Decimal]
    costs: Decimal = ZERO
    traded: Decimal = ZERO

    def equity(self, prices: Sequence[Decimal | None]) -> Decimal:
        """Return the exact value of cash and positions at `prices`."""
        return self.cash + holdings_value(self.quantities, prices)

    def book(self, index: int, quantity: Decimal, price: Decimal, cost: Decimal) -> None:
        """Book a signed `quantity` of the symbol at `index`, at `price` and with `cost`."""
        notional = quantity * price
        self.cash -= notional + cost
        self.quantities[index] += quantity
        self.costs += cost
        self.traded += abs(notional)

    def entitle(self, index: int, quantity: Decimal, paid: Decimal) -> None:
        """Apply a corporate action to the symbol at `index`.

        `quantity` is held afterwards, and `paid` is added to the cash.
        """
        self.quantities[index] = quantity
        self.cash += paid


@dataclass(slots=True)
class OpenChange:
    """An open change of the sleeves; `order` is `None` where they only cross among themselves."""

    decision_id: str
    symbol: str
    wanted: tuple[Decimal, ...]
    order: Order | None = None


@dataclass(slots=True)
class Sleeves:
    """The books of all sleeves, in a fixed order, and their open changes.

    Parameters
    ----------
    symbols : tuple of str
        The symbols, in the order of each book's quantities.
    books : list of SleeveBook
        One book a sleeve.
    working : dict of str to OpenChange
        Open changes with an order, by client order id.
    crossing : list of OpenChange
        Open changes that cancel out between sleeves and wait for a price.

    Examples
    --------
    >>> sleeves = Sleeves.funded(("AAPL",), ("sleeve-00", "sleeve-01", "sleeve-02"), Decimal(100))
    >>> [str(book.cash) for book in sleeves.books]
    ['33.34', '33.33', '33.33']
    """

    symbols: tuple[str, ...]
    books: list[SleeveBook]
    working: dict[str, OpenChange] = field(default_factory=dict)
    crossing: list[OpenChange] = field(default_factory=list)

    @classmethod
    def funded(cls, symbols: tuple[str, ...], names: Sequence[str], capital: Decimal) -> Sleeves:
        """Distribute `capital` equally, to the cent; the first book takes the remainder."""
        share = (capital / len(names)).quantize(CENT, ROUND_DOWN)
        books = [SleeveBook(name, share, [ZERO] * len(symbols)) for name in names]
        books[0].cash += capital - share * len(names)
        return cls(symbols, books)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sleeves."""
        return tuple(book.name for book in self.books)

    @property
    def waiting(self) -> frozenset[str]:
        """Symbols with an open change, for which nothing new is decided."""
        return frozenset(one.symbol for one in (*self.working.values(), *self.crossing))

    def equity(self, prices: Sequence[Decimal | None]) -> Decimal:
        """Return the exact value of cash and positions of all books at `prices`."""
        return sum((book.equity(prices) for book in self.books), ZERO)

    def positions(self) -> list[Position]:
        """Return the positions of all books together, which the broker should hold."""
        totals = [sum(column, ZERO) for column in zip(*(b.quantities for b in self.books), strict=True)]
        return [Position(symbol, total) for symbol, total in zip(self.symbols, totals, strict=True)]

    def expect(self, change: OpenChange) -> None:
        """Add an open change, which waits for fills or for a price."""
        if change.order is None:
            self.crossing.append(change)
        else:
            self.working[change.order.client_order_id] = change

    def allocate(self, fills: Sequence[Fill]) -> list[Allocation]:
        """Allocate each of `fills`, in order, without booking it.

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
            allocation = allocate_fill(fill, left[fill.client_order_id])
            left[fill.client_order_id] = subtract_quantities(
                left[fill.client_order_id], allocation.quantities
            )
            allocations.append(allocation)
        return allocations

    def book_fill(self, fill: Fill, allocation: Allocation) -> None:
        """Book an allocated fill, and keep the remainder of its order open."""
        self.book(allocation)
        change = self.working[fill.client_order_id]
        change.wanted = subtract_quantities(change.wanted, allocation.quantities)
        if not any(change.wanted):
            del self.working[fill.client_order_id]

    def book_cross(self, change: OpenChange, price: Decimal) -> None:
        """Book changes that cancel out between sleeves, at `price` and without cost."""
        self.book(Allocation(change.symbol, price, change.wanted, (ZERO,) * len(change.wanted)))
        self.crossing.remove(change)

    def book(self, allocation: Allocation) -> None:
        """Book each sleeve's part of one execution."""
        index = self.symbols.index(allocation.symbol)
        for book, quantity, cost in zip(self.books, allocation.quantities, allocation.costs, strict=True):
            if quantity or cost:
                book.book(index, quantity, allocation.price, cost)
