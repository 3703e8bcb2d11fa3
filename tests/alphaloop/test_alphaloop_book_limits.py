"""Limits of a book: the default cap, what a limit keeps in cash, and what is allowed of what is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloop.decision.book_limits import BookLimits, clip_weights, name_cap, unfilled_cash_message


@pytest.mark.parametrize(
    ("names", "cap"), [(1, 1.0), (2, 1.0), (4, 0.625), (6, 2.5 / 6), (10, 0.25), (17, 0.15), (500, 0.15)]
)
def test_the_default_cap_leaves_room_for_few_names(names, cap):
    """Without a limit of the user's the cap is 2.5 equal shares, at least 15 % and at most all."""
    assert name_cap(None, names) == pytest.approx(cap)
    assert name_cap(0.15, names) == 0.15


def test_a_cap_that_leaves_cash_is_told_with_the_figure_that_fills_the_book():
    """Six names at 15 % are 90 % of the capital; 0.1667 each fill it, and are not told again."""
    line = unfilled_cash_message(BookLimits(max_weight=0.15), 6)
    assert line == (
        "6 names at 0.15 each (trading.max_weight) are at most 90.0% of the capital, and trading.max_gross "
        "is 100.0%: the rest stays in cash; trading.max_weight = 0.1667 would fill it"
    )
    assert unfilled_cash_message(BookLimits(max_weight=0.1667), 6) == ""


@pytest.mark.parametrize("names", [1, 2, 3, 6, 16, 17, 20, 500])
def test_the_default_fills_every_book(names):
    """No number of names leaves an unlevered book in cash by default."""
    assert unfilled_cash_message(BookLimits(), names) == ""


def test_a_book_of_equal_shares_at_its_cap_is_full():
    """Twenty names at 5 % are all of the capital: nothing is told, whatever floats make of it."""
    assert unfilled_cash_message(BookLimits(max_weight=0.05), 20) == ""
    assert unfilled_cash_message(BookLimits(max_weight=0.1, max_gross=0.6), 6) == ""


def test_gross_that_no_cap_can_fill_is_told():
    """Two names at most once the capital each cannot hold three times of it."""
    assert "trading.max_gross cannot be above 2" in unfilled_cash_message(BookLimits(max_gross=3.0), 2)


def test_purchases_shrink_until_they_fit_and_sales_are_not_forced():
    """Of 0.9 held and 0.3 wanted more, 0.1 has room; reduce-only buys nothing."""
    current, wanted = np.array([0.5, 0.4, 0.0]), np.array([0.5, 0.4, 0.3])
    assert clip_weights(wanted, current, 1.0, 1.0).tolist() == pytest.approx([0.5, 0.4, 0.1])
    assert clip_weights(wanted, current, 1.0, 0.5).tolist() == pytest.approx([0.5, 0.4, 0.0])
    assert clip_weights(wanted, current, 1.0, 1.0, True).tolist() == pytest.approx([0.5, 0.4, 0.0])
    assert clip_weights(wanted, current, 0.45, 1.0).tolist() == pytest.approx([0.45, 0.4, 0.15])
