"""Sleeves: virtual books that add up to the account."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.errors import VendorError
from alphaloop.orders import Fill, Order, Position, Side
from trading.execution.sleeves import OpenChange, Sleeves

AT = datetime(2019, 1, 2, 21, tzinfo=UTC)


def _order(quantity: str, side: Side = Side.BUY) -> Order:
    return Order("al-1", "AAPL", side, Decimal(quantity), AT, "d1")


def _fill(quantity: str, price: str = "10", cost: str = "0.05") -> Fill:
    return Fill("al-1", "AAPL", Side.BUY, Decimal(quantity), Decimal(price), Decimal(cost), AT)


@given(st.integers(1, 10**12), st.integers(1, 40))
def test_capital_is_shared_out_to_the_cent(capital, count):
    """Every book gets the same whole cents, the first the remainder, and nothing is lost."""
    sleeves = Sleeves.funded(("A",), [str(n) for n in range(count)], Decimal(capital))
    assert sum(book.cash for book in sleeves.books) == capital
    assert {book.cash for book in sleeves.books[1:]} <= {sleeves.books[-1].cash}
    assert 0 <= sleeves.books[0].cash - sleeves.books[-1].cash < count


def test_two_parts_of_one_order_in_one_batch_are_shared_in_turn():
    """The second part is shared over what the first left open, and the order closes with the last."""
    sleeves = Sleeves.funded(("AAPL",), ["a", "b"], Decimal(1000))
    sleeves.expect(OpenChange("d1", "AAPL", (Decimal(10), Decimal(-4)), _order("6")))
    assert sleeves.waiting == {"AAPL"}
    fills = [_fill("3"), _fill("3", price="11", cost="0.07")]
    allocations = sleeves.allocate(fills)
    for fill, allocation in zip(fills, allocations, strict=True):
        sleeves.book_fill(fill, allocation)
    assert [book.quantities for book in sleeves.books] == [[Decimal(10)], [Decimal(-4)]]
    assert sum(book.cash for book in sleeves.books) == 1000 - 3 * 10 - 3 * 11 - Decimal("0.12")
    assert sum(book.costs for book in sleeves.books) == Decimal("0.12")
    assert sleeves.books[1].traded == 2 * 10 + 2 * 11
    assert sleeves.positions() == [Position("AAPL", Decimal(6))]
    assert not sleeves.waiting


def test_a_fill_of_an_unknown_order_is_refused_before_anything_is_booked():
    """A batch with one unknown fill books none of it."""
    sleeves = Sleeves.funded(("AAPL",), ["a"], Decimal(1000))
    with pytest.raises(VendorError, match=r"al-1 \(buy 3 AAPL\).*reconcile"):
        sleeves.allocate([_fill("3")])
    assert sleeves.books[0].cash == 1000


def test_a_cross_moves_stock_between_sleeves_without_cost():
    """What cancels out is booked at the given price, and the account as a whole does not change."""
    sleeves = Sleeves.funded(("AAPL", "MSFT"), ["a", "b"], Decimal(1000))
    change = OpenChange("d1", "MSFT", (Decimal(2), Decimal(-2)))
    sleeves.expect(change)
    sleeves.book_cross(change, Decimal("12.5"))
    prices = [None, Decimal("12.5")]
    assert sleeves.equity(prices) == 1000
    assert [book.cash for book in sleeves.books] == [Decimal(475), Decimal(525)]
    assert [book.costs for book in sleeves.books] == [0, 0]
    assert not sleeves.crossing
