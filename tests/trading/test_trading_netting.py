"""Execution: what is netted and shared out adds up exactly."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alphaloop.errors import VendorError
from alphaloop.orders import Fill, Side
from trading.execution.netting import LOT, allocate_fill, share_cost, share_quantity, subtract_quantities

lots = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n) * LOT)
changes = st.lists(lots, min_size=1, max_size=24)
cents = st.integers(0, 10**9).map(lambda n: Decimal(n) / 100)


@given(changes, st.data())
def test_shares_of_a_fill_add_up_and_never_exceed_what_was_wanted(wanted, data):
    """Each sleeve gets the sign it wanted and no more than it wanted, and together exactly the fill."""
    net = sum(wanted)
    assume(net != 0)
    filled = data.draw(st.integers(1, int(abs(net) / LOT))) * LOT * (1 if net > 0 else -1)
    shares = share_quantity(filled, wanted)
    assert sum(shares) == filled
    for share, want in zip(shares, wanted, strict=True):
        assert share == 0 or share * want > 0
        assert abs(share) <= abs(want)
        assert share == share.quantize(LOT)
        assert abs(share - want * filled / net) < LOT


@given(changes, st.lists(st.integers(1, 10), min_size=1, max_size=6))
def test_partial_fills_end_where_one_fill_would(wanted, parts):
    """However an order is filled piece by piece, every sleeve ends with exactly its own change."""
    net = sum(wanted)
    assume(net != 0)
    left = tuple(wanted)
    sign = 1 if net > 0 else -1
    for part in parts:
        open_lots = int(abs(sum(left)) / LOT)
        filled = open_lots * part // 12 * LOT * sign
        if filled:
            left = subtract_quantities(left, share_quantity(filled, left))
    got = subtract_quantities(wanted, left)
    assert subtract_quantities(left, share_quantity(sum(left), left)) == (Decimal(0),) * len(wanted)
    assert sum(got) + sum(left) == net


@given(cents, changes)
def test_shares_of_a_cost_add_up_to_the_cent(cost, quantities):
    """Costs follow the size traded, are whole cents, never negative, and nothing is lost."""
    shares = share_cost(cost, quantities)
    assert sum(shares) == cost
    assert all(share >= 0 and share == share.quantize(Decimal("0.01")) for share in shares)
    if any(quantities):
        assert all(share == 0 for share, traded in zip(shares, quantities, strict=True) if not traded)


def test_finer_steps_than_ours_still_add_up():
    """A venue that fills and charges in smaller steps than our lot and cent is booked exactly."""
    wanted = (Decimal(1), Decimal(2), Decimal(-1))
    filled = Decimal("0.123456789")
    assert sum(share_quantity(filled, wanted)) == filled
    cost = Decimal("0.00012345")
    assert sum(share_cost(cost, wanted)) == cost


@pytest.mark.parametrize("filled", ["3.0001", "-1", "-3"])
def test_a_fill_that_was_not_ordered_is_refused(filled):
    """More than is open, or the other side, is the broker's error and is not booked."""
    with pytest.raises(VendorError, match="3 is open"):
        share_quantity(Decimal(filled), (Decimal(5), Decimal(-2)))


def test_all_sleeves_get_one_price_and_opposite_wishes_cross_at_it():
    """A net purchase fills the sleeve that sells as well, at the same price, and costs follow size."""
    fill = Fill("al-1", "AAPL", Side.BUY, Decimal(6), Decimal("10.5"), Decimal("0.14"), datetime.now(UTC))
    allocation = allocate_fill(fill, (Decimal(10), Decimal(-4)))
    assert allocation.quantities == (Decimal(10), Decimal(-4))
    assert allocation.costs == (Decimal("0.10"), Decimal("0.04"))
    assert allocation.price == Decimal("10.5")
