"""Carry-over of a book to other symbols or another number of sleeves.

A new symbol changes nothing that is held, and neither does removing a symbol that is not held: the book
simply goes on. Everything that moves money (removing a symbol that is held, another number of sleeves) needs
a person's decision, journaled with name and reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import Any

from alphaloop.costs import CENT, CostModel
from alphaloop.errors import InputError
from trading.engine import BarOutcome
from trading.execution.netting import LOT, ZERO
from trading.execution.sleeves import SleeveBook, Sleeves

CARRIED_KIND = "book.carried"
"""Kind of the journal record that holds the whole book after a carry-over."""
MAX_NAMED_SYMBOLS = 8
"""Largest number of symbols listed in a message."""


@dataclass(slots=True)
class BookState:
    """A book between two bars: holdings, open orders, and the last data of each symbol."""

    portfolio: Sleeves
    prices: list[Decimal | None]
    adjustments: list[float | None]
    peak: Decimal
    last: BarOutcome
    providers: tuple[str, ...] = ()

    def select(self, symbols: tuple[str, ...]) -> BookState:
        """Return the same book over other `symbols`, without the holdings of those left out."""
        index_of = {symbol: index for index, symbol in enumerate(self.portfolio.symbols)}
        indices = [index_of.get(symbol) for symbol in symbols]
        books = [
            replace(book, quantities=[ZERO if i is None else book.quantities[i] for i in indices])
            for book in self.portfolio.books
        ]
        return replace(
            self,
            portfolio=replace(self.portfolio, symbols=symbols, books=books),
            prices=[None if i is None else self.prices[i] for i in indices],
            adjustments=[None if i is None else self.adjustments[i] for i in indices],
            providers=tuple("" if i is None else self.providers[i] for i in indices)
            if self.providers
            else (),
        )


@dataclass(frozen=True, slots=True)
class Sale:
    """The sale of a removed symbol by all sleeves together, at its last price."""

    symbol: str
    quantity: Decimal
    price: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CarriedBook:
    """A book after a carry-over, with the sales and cancelled orders on the way."""

    state: BookState
    sales: tuple[Sale, ...]
    dropped_orders: tuple[str, ...]

    def to_body(self, by: str, reason: str) -> dict[str, Any]:
        """Return the body of a `book.carry_over` record."""
        state, books = self.state, self.state.portfolio.books
        return {
            "by": by,
            "reason": reason,
            "as_of": state.last.as_of.isoformat(),
            "decision_id": state.last.decision_id,
            "symbols": list(state.portfolio.symbols),
            "sleeves": list(state.portfolio.names),
            "cash": [str(book.cash) for book in books],
            "quantities": [[str(one) for one in book.quantities] for book in books],
            "costs": [str(book.costs) for book in books],
            "traded": [str(book.traded) for book in books],
            "prices": [None if price is None else str(price) for price in state.prices],
            "adjustments": list(state.adjustments),
            "peak": str(state.peak),
            "equity": str(state.last.equity),
            "dropped_orders": list(self.dropped_orders),
            "sales": [
                {
                    "symbol": one.symbol,
                    "quantity": str(one.quantity),
                    "price": str(one.price),
                    "cost": str(one.cost),
                }
                for one in self.sales
            ],
        }


def book_state_from_body(body: dict[str, Any]) -> BookState:
    """Restore the book from the body of a `book.carry_over` record."""
    rows = zip(body["sleeves"], body["cash"], body["quantities"], body["costs"], body["traded"], strict=True)
    books = [
        SleeveBook(name, Decimal(cash), list(map(Decimal, held)), Decimal(costs), Decimal(traded))
        for name, cash, held, costs, traded in rows
    ]
    return BookState(
        portfolio=Sleeves(tuple(body["symbols"]), books),
        prices=[None if price is None else Decimal(price) for price in body["prices"]],
        adjustments=list(body["adjustments"]),
        peak=Decimal(body["peak"]),
        last=_nothing_decided(
            datetime.fromisoformat(body["as_of"]), Decimal(body["equity"]), body["decision_id"]
        ),
    )


def fit_to_symbols(state: BookState, symbols: tuple[str, ...], sleeves: tuple[str, ...]) -> BookState:
    """Fit `state` to `symbols`; raise `InputError` where that moves money or changes the sleeves."""
    way_out = "alphaloop book carry --reason WHY"
    if state.portfolio.names != sleeves:
        raise InputError(
            f"the journal's book has {len(state.portfolio.names)} sleeves, and trading.sleeves is "
            f"{len(sleeves)}; set it back, or share the book out anew: {way_out}"
        )
    concerned = [symbol for symbol in _concerned(state.portfolio) if symbol not in symbols]
    if concerned:
        named = ", ".join(concerned[:MAX_NAMED_SYMBOLS]) + (
            ", …" if len(concerned) > MAX_NAMED_SYMBOLS else ""
        )
        raise InputError(
            f"the journal's book holds or orders {named}, of which there are no bars here; put them back "
            f"into data.symbols, or sell them at their last price: {way_out}"
        )
    return state.select(symbols)


def carry_over(
    state: BookState, symbols: tuple[str, ...], sleeves: tuple[str, ...], costs: CostModel
) -> CarriedBook:
    """Carry `state` over: cancel open orders, sell removed symbols, and redistribute to `sleeves`.

    Removed symbols are sold at their last price and the usual cost. With the same sleeves, each keeps its own
    holdings. Raises `InputError` for a removed symbol without a known price.
    """
    dropped = (*state.portfolio.working, *(f"cross of {one.symbol}" for one in state.portfolio.crossing))
    still = replace(state, portfolio=Sleeves(state.portfolio.symbols, _copied(state.portfolio.books)))
    sales = tuple(
        _sold(still, symbol, costs) for symbol in _concerned(still.portfolio) if symbol not in symbols
    )
    after = still.select(symbols)
    if after.portfolio.names != sleeves:
        after.portfolio = Sleeves(symbols, _shared(after.portfolio.books, sleeves))
    equity = after.portfolio.equity(after.prices)
    after.last = _nothing_decided(state.last.as_of, equity, state.last.decision_id)
    return CarriedBook(after, sales, dropped)


def _concerned(portfolio: Sleeves) -> list[str]:
    """List the symbols that are held or have open orders."""
    held = {one.symbol for one in portfolio.positions() if one.quantity}
    held |= {
        symbol
        for book in portfolio.books
        for symbol, quantity in zip(portfolio.symbols, book.quantities, strict=True)
        if quantity
    }
    return [symbol for symbol in portfolio.symbols if symbol in held | portfolio.waiting]


def _sold(state: BookState, symbol: str, costs: CostModel) -> Sale:
    index = state.portfolio.symbols.index(symbol)
    price = state.prices[index]
    total, paid = ZERO, ZERO
    for book in state.portfolio.books:
        quantity = book.quantities[index]
        if not quantity:
            continue
        if price is None:
            raise InputError(f"no price of {symbol} is known, so that it cannot be sold; put it back first")
        cost = costs.of_notional(quantity * price)
        book.book(index, -quantity, price, cost)
        total, paid = total + quantity, paid + cost
    return Sale(symbol, total, price or ZERO, paid)


def _copied(books: Sequence[SleeveBook]) -> list[SleeveBook]:
    return [replace(book, quantities=list(book.quantities)) for book in books]


def _shared(books: Sequence[SleeveBook], names: Sequence[str]) -> list[SleeveBook]:
    """Redistribute all `books` equally; the first takes the remainder."""
    count = len(names)

    def parts(total: Decimal, step: Decimal) -> list[Decimal]:
        share = (total / count).quantize(step, ROUND_DOWN)
        return [total - share * (count - 1), *[share] * (count - 1)]

    cash = parts(sum((book.cash for book in books), ZERO), CENT)
    costs = parts(sum((book.costs for book in books), ZERO), CENT)
    traded = parts(sum((book.traded for book in books), ZERO), CENT)
    columns = zip(*(book.quantities for book in books), strict=True)
    held = [parts(sum(column, ZERO), LOT) for column in columns]
    return [
        SleeveBook(name, cash[index], [column[index] for column in held], costs[index], traded[index])
        for index, name in enumerate(names)
    ]


def _nothing_decided(as_of: datetime, equity: Decimal, decision_id: str) -> BarOutcome:
    return BarOutcome(as_of, equity, (), (), {}, (), decision_id)
