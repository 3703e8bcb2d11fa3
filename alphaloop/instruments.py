"""Instruments that can be traded, as their venue describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from alphaloop.errors import DataError


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable instrument: price step and smallest quantity.

    Terms change: an instrument describes the terms that hold from `start` on and were known from `published`
    on.

    Parameters
    ----------
    symbol : str
        The symbol.
    tick : Decimal
        Price step.
    lot : Decimal
        Smallest quantity.
    start, published : datetime, optional
        Time from which the terms hold, and time from which they were known; None for always.

    Raises
    ------
    DataError
        For terms that cannot be true: no symbol, a step that is not positive, a time without a time zone.

    Examples
    --------
    >>> from decimal import Decimal
    >>> Instrument("AAPL", lot=Decimal(1)).tick
    Decimal('0.01')
    """

    symbol: str
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.0001")
    start: datetime | None = None
    published: datetime | None = None

    def __post_init__(self) -> None:
        if not self.symbol:
            raise DataError("an instrument has a symbol")
        for name in ("tick", "lot"):
            value = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise DataError(f"{self.symbol}: {name} is {value}; it must be above 0")
        for name in ("start", "published"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise DataError(f"{self.symbol}: {name} is {moment}, without a time zone; give it in UTC")
