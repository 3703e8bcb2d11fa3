"""Orders, fills, positions and forecasts: the values that are booked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.forecasts import hash_inputs
from alphaloop.orders import Fill, Order, Position, Side, client_order_id

AT = datetime(2020, 3, 16, 20, tzinfo=UTC)
quantities = st.decimals("0.0001", "1000000", places=4)


@given(quantities, st.sampled_from(Side))
def test_quantities_are_positive_and_the_side_gives_the_sign(quantity, side):
    """Order and fill of one side have its sign, and a position moves by it."""
    order = Order("al-1", "A", side, quantity, AT, "d")
    fill = Fill("al-1", "A", side, quantity, Decimal(10), Decimal(0), AT)
    assert order.signed_quantity == fill.signed_quantity == quantity * side.sign
    assert Position("A", Decimal(5)).after(fill) == Position("A", 5 + fill.signed_quantity)


@pytest.mark.parametrize("quantity", [Decimal(0), Decimal(-1)])
def test_an_order_for_nothing_is_refused(quantity):
    """The error names the order and its quantity."""
    with pytest.raises(ValueError, match=f"al-1: quantity is {quantity}"):
        Order("al-1", "A", Side.BUY, quantity, AT, "d")


@given(st.text(), st.text(), st.text(), st.text())
def test_ids_are_the_same_for_the_same_decision_only(decision, symbol, other_decision, other_symbol):
    """The same decision and symbol give the same id again, another pair another."""
    one, two = client_order_id(decision, symbol), client_order_id(other_decision, other_symbol)
    assert one == client_order_id(decision, symbol)
    assert one.startswith("al-")
    assert (one == two) == (f"{decision}/{symbol}" == f"{other_decision}/{other_symbol}")


def test_the_hash_of_inputs_sees_every_value_and_the_shape():
    """One bit of one value, another shape or another order change the hash; the memory layout does not."""
    inputs = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    same = np.asfortranarray(inputs)
    assert hash_inputs(inputs) == hash_inputs(same)
    changed = inputs.copy()
    changed[1, 2, 3] = np.nextafter(changed[1, 2, 3], np.float32(np.inf))
    others = [changed, inputs.reshape(3, 2, 4), inputs[::-1]]
    assert len({hash_inputs(one) for one in [inputs, *others]}) == 4


def test_values_are_frozen():
    """What was booked cannot be changed, only replaced."""
    order = Order("al-1", "A", Side.BUY, Decimal(1), AT, "d")
    with pytest.raises(AttributeError):
        order.quantity = Decimal(2)
    assert replace(order, quantity=Decimal(2)).quantity == 2
