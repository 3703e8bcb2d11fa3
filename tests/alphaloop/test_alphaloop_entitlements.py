"""Entitlements: what a step of the adjustment factor gives to the holder of a unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.decision.entitlements import Entitlement, infer_entitlement, infer_entitlements


@pytest.mark.parametrize(
    ("step", "new", "old"),
    [
        (2.0, 2, 1),
        (1.5, 3, 2),
        (20.0, 20, 1),
        (0.1, 1, 10),
        (1 / 15, 1, 15),
        (1.25, 5, 4),
        (7.0, 7, 1),
        (2.0002, 2, 1),
    ],
)
def test_a_step_that_is_a_ratio_is_a_split(step, new, old):
    """Whole ratios change the units, and pay nothing; a factor's rounding is no dividend."""
    assert infer_entitlement("A", step, 100.0) == Entitlement("A", new, old, 0.0)


@pytest.mark.parametrize(("price", "paid"), [(100.0, 1.0), (30.0, 3.0), (0.5, 0.002), (50.0, -0.25)])
def test_a_small_step_is_the_sum_that_was_declared(price, paid):
    """The factor price / (price - payment) gives the payment back; a correction takes money."""
    found = infer_entitlement("A", price / (price - paid), price)
    assert (found.new, found.old, found.payment) == (1, 1, pytest.approx(paid))


def test_a_large_step_of_no_ratio_is_paid():
    """A spin-off of 37 of 100 adds no units."""
    found = infer_entitlement("A", 100 / 63, 100.0)
    assert (found.is_split, found.payment) == (False, pytest.approx(37.0))


@pytest.mark.parametrize("step", [1.0, 1.0 + 1e-9, float("nan"), 0.0, -2.0, float("inf")])
def test_no_step_is_no_action(step):
    """What is no step, or no factor, gives nothing."""
    assert infer_entitlement("A", step, 100.0) is None


@given(st.floats(0.01, 100), st.floats(0.01, 1e4))
def test_the_holder_is_worth_what_he_was(step, price):
    """At the price that the factor implies, units and payment are worth the units of before, to 0.05 %."""
    found = infer_entitlement("A", step, price)
    if found is not None:
        assert found.ratio * price / step + found.payment == pytest.approx(price, rel=5.1e-4)


def test_symbols_without_a_factor_or_price_have_no_entitlement():
    """A factor or a price that is not known says nothing of that symbol, and of others it does."""
    nan = float("nan")
    found = infer_entitlements(
        ("A", "B", "C", "D"), np.array([1.0, nan, 1.0, 1.0]), np.full(4, 2.0), np.array([9.0, 9.0, nan, 9.0])
    )
    assert found == [(0, Entitlement("A", 2, 1)), (3, Entitlement("D", 2, 1))]
