"""What can be traded, as its venue describes it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from alphaloop.errors import DataError


@dataclass(frozen=True, slots=True)
class Instrument:
    """What can be traded: its price step, its smallest quantity, its currency and its terms.

    `multiplier` is the money that one unit of price is worth (50 for a future at 50 dollars a point).
    `calendar` names the exchange's sessions. `expiry` is the last trading day of a contract, `root` the
    chain it belongs to, and `roll` the day from which the next contract is held instead, where one is
    fixed. Terms change: this is what holds from `start` on and has been known since `published`; without
    them, always. `DataError` for terms that cannot be.
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
