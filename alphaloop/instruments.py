"""Instruments that can be traded, as their venue describes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from alphaloop.errors import DataError


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable instrument: price step, smallest quantity, currency and contract terms.

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
    currency : str
        Currency of the price.
    multiplier : Decimal
        Money that one unit of price is worth (50 for a future at 50 dollars a point).
    calendar : str
        Trading calendar of the exchange.
    expiry : date, optional
        Last trading day of a contract.
    roll : date, optional
        Day from which the next contract is held instead, where one is fixed.
    root : str
        Chain that the contract belongs to; empty for an instrument without expiry.
    start, published : datetime, optional
        Time from which the terms hold, and time from which they were known; None for always.

    Raises
    ------
    DataError
        For terms that cannot be true: no symbol, a step that is not positive, a time without a time zone, a
        roll after the expiry, or a root without an expiry.

    Examples
    --------
    >>> from datetime import date
    >>> from decimal import Decimal
    >>> future = Instrument("ESZ5", multiplier=Decimal(50), root="ES", expiry=date(2025, 12, 19))
    >>> future.multiplier
    Decimal('50')
    """

    symbol: str
    tick: Decimal = Decimal("0.01")
    lot: Decimal = Decimal("0.0001")
    currency: str = "USD"
    multiplier: Decimal = Decimal(1)
    calendar: str = "XNYS"
    expiry: date | None = None
    roll: date | None = None
    root: str = ""
    start: datetime | None = None
    published: datetime | None = None

    def __post_init__(self) -> None:
        if not self.symbol:
            raise DataError("an instrument has a symbol")
        for name in ("tick", "lot", "multiplier"):
            value = getattr(self, name)
            if not (value.is_finite() and value > 0):
                raise DataError(f"{self.symbol}: {name} is {value}; it must be above 0")
        for name in ("start", "published"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise DataError(f"{self.symbol}: {name} is {moment}, without a time zone; give it in UTC")
        if self.roll is not None and (self.expiry is None or self.roll > self.expiry):
            raise DataError(f"{self.symbol}: it rolls on {self.roll}, and expires on {self.expiry}")
        if bool(self.root) != (self.expiry is not None):
            raise DataError(
                f"{self.symbol}: root is '{self.root}' and expiry {self.expiry}; a contract has both"
            )
