"""Limits of a book: a full book can change what it holds, since sales make room for purchases."""

from __future__ import annotations

import numpy as np
import pytest

from alphaloop.decision.book_limits import BookLimits, clip_weights


def test_a_full_book_rotates_by_what_it_sells() -> None:
    """All of one name is sold and as much of another bought, within a gross of one at every moment."""
    current = np.array([0.5, 0.5, 0.0])
    wanted = np.array([0.0, 0.5, 0.5])
    np.testing.assert_allclose(clip_weights(wanted, current, 0.6, 1.0), wanted)
    np.testing.assert_allclose(BookLimits(max_weight=0.6).clip(wanted, current), wanted)


@pytest.mark.parametrize(
    ("sold", "asked", "bought"),
    [(0.2, 0.2, 0.2), (0.2, 0.3, 0.2), (0.0, 0.3, 0.0), (0.1, 0.05, 0.05)],
)
def test_purchases_of_a_full_book_are_what_was_sold_at_most(sold: float, asked: float, bought: float) -> None:
    """Room is the gross less what is kept: at most the sales, and no less than what was asked of them."""
    current = np.array([[0.6, 0.4, 0.0]])
    allowed = clip_weights(np.array([[0.6 - sold, 0.4, asked]]), current, 1.0, 1.0)
    np.testing.assert_allclose(allowed, [[0.6 - sold, 0.4, bought]])
