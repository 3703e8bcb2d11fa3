"""Terms of the instruments that are traded: the lot of a quantity and the tick of a price, at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from pathlib import Path

from alphaloop.errors import InputError, UnknownNameError
from alphaloop.instruments import Instrument
from alphaloop.orders import Side
from alphaloop.settings.trading import TradingSettings
from marketdata.point_in_time.reference_data import ReferenceData
from trading.execution.netting import LOT

MAX_SYMBOLS_SHOWN = 8


@dataclass(frozen=True)
class InstrumentTerms:
    """Lots and ticks as known at any time.

    Parameters
    ----------
    reference : ReferenceData, optional
        Versions of the instruments' terms; without them, the lot is `trading.execution.netting.LOT` and
        prices have no tick.

    Examples
    --------
    >>> from datetime import UTC
    >>> terms = InstrumentTerms(ReferenceData([Instrument("AAPL", lot=Decimal(1))]))
    >>> terms.lot("AAPL", datetime(2020, 1, 2, tzinfo=UTC))
    Decimal('1')
    """

    reference: ReferenceData | None = None

    @classmethod
    def from_settings(cls, settings: TradingSettings, symbols: Sequence[str]) -> InstrumentTerms:
        """Return the terms in the file of `trading.instruments`; none where it is empty.

        Parameters
        ----------
        settings : TradingSettings
            The name of the file.
        symbols : sequence of str
            Symbols of the book.

        Returns
        -------
        InstrumentTerms
            The terms of all `symbols`.

        Raises
        ------
        DataError
            For a file that cannot be read; the message names file, row and column.
        UnknownNameError
            For a symbol without terms.
        InputError
            For a lot that is no multiple of the smallest quantity that books count.
        """
        if not settings.instruments:
            return cls()
        reference = ReferenceData.read(Path(settings.instruments))
        lacking = [symbol for symbol in symbols if symbol not in reference.symbols()]
        if lacking:
            shown = ", ".join(lacking[:MAX_SYMBOLS_SHOWN])
            raise UnknownNameError("instrument", shown, reference.symbols(), where=settings.instruments)
        for symbol in symbols:
            for version in reference.versions(symbol):
                _require_countable_lot(version, settings.instruments)
        return cls(reference)

    def lots(self, symbols: Sequence[str], as_of: datetime) -> tuple[Decimal, ...]:
        """Return the lot of each symbol at `as_of`; nothing without terms."""
        if self.reference is None:
            return ()
        return tuple(self.reference.instrument(symbol, as_of).lot for symbol in symbols)

    def lot(self, symbol: str, as_of: datetime) -> Decimal:
        """Return the lot of a symbol at `as_of`."""
        return LOT if self.reference is None else self.reference.instrument(symbol, as_of).lot

    def on_tick(self, price: Decimal, symbol: str, side: Side, as_of: datetime) -> Decimal:
        """Round a fill's price to the tick, against whoever trades: up for a purchase, down for a sale."""
        if self.reference is None:
            return price
        tick = self.reference.instrument(symbol, as_of).tick
        rounding = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
        ticks = (price / tick).to_integral_value(rounding)
        # A price below one tick cannot be sold for nothing.
        return max(ticks, Decimal(1)) * tick


NO_TERMS = InstrumentTerms()
"""Terms of a book that names no instruments."""


def _require_countable_lot(instrument: Instrument, file: str) -> None:
    if instrument.lot % LOT and LOT % instrument.lot:
        raise InputError(
            f"{file}: the lot of {instrument.symbol} is {instrument.lot}; books count in {LOT}: give a "
            "multiple of it"
        )
