"""Stored JSON becomes dataclasses, and what does not fit is named."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

import pytest

from alphaloop.runtime.stored_values import parse_stored, restore


class Side(StrEnum):
    BUY = "buy"


@dataclass(frozen=True)
class Leg:
    quantity: Decimal
    at: datetime
    side: Side = Side.BUY


@dataclass(frozen=True)
class Book:
    name: str
    weight: float
    shares: tuple[float, ...] = ()
    count: int = 0


def test_plain_values_of_a_journal_come_back_exactly() -> None:
    """Money is not rounded on its way through text, and times keep their zone; other keys are ignored."""
    body = {"quantity": "0.10", "at": "2020-01-02T21:00:00+00:00", "side": "buy", "newer": 1}
    leg = restore(Leg, body)
    assert leg == Leg(Decimal("0.10"), datetime(2020, 1, 2, 21, tzinfo=UTC))
    assert str(leg.quantity) == "0.10" and leg.side is Side.BUY


def test_a_stored_object_comes_back_or_is_named() -> None:
    """A number may be whole, NaN is kept, and a wrong type is named with its field in one line."""
    book = parse_stored(Book, '{"name": "a", "weight": 1, "shares": [NaN, 2], "newer": {}}')
    assert (book.name, book.weight, book.shares[1], book.count) == ("a", 1.0, 2.0, 0)
    assert book.shares[0] != book.shares[0]
    for text, field in (
        ('{"name": 1, "weight": 1}', "name"),
        ('{"name": "a", "weight": "1"}', "weight"),
        ('{"name": "a", "weight": 1, "count": 1.5}', "count"),
        ('{"name": "a"}', "weight"),
        ("[]", "it"),
        ("{", "it"),
    ):
        with pytest.raises(ValueError, match=f"^{field}: [^\n]+$"):
            parse_stored(Book, text)
    with pytest.raises(ValueError, match=r"^quantity: "):
        restore(Leg, {"quantity": "much", "at": "2020-01-02T21:00:00+00:00"})
