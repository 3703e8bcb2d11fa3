"""Trades reported by a venue, and bars built from them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import numpy as np

from alphaloop.clock import as_utc
from marketdata.connectors.closed_bars import BarUpdate

Side = Literal["buy", "sell", ""]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# 1970-01-05 was a Monday: weeks are counted from it; every shorter period divides the day.
FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade.

    `side` is the taker's, empty where the venue does not say; `size` is in units of the base.
    """

    symbol: str
    timestamp: datetime
    price: float
    size: float
    side: Side = ""
    id: str = ""
    provider: str = ""

    def __post_init__(self) -> None:
        as_utc(self.timestamp)
        for name in ("price", "size"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"trade of {self.symbol} at {self.timestamp}: {name} is {value}")


class TradeBars:
    """Bars built from trades, for venues that send no bars.

    A period without its beginning yields nothing: its bar must come from history. So the first period after
    `interrupt` (and the very first) is left out.
    """

    def __init__(self, period: timedelta) -> None:
        self._period = period
        self._built: dict[str, BarUpdate] = {}
        self._complete_since: dict[str, datetime] = {}

    def interrupt(self) -> None:
        """Note that trades may have been missed."""
        self._built.clear()
        self._complete_since.clear()

    def listen(self, symbol: str, now: datetime) -> None:
        """Note that every trade of `symbol` is received from `now` on."""
        self._complete_since.setdefault(symbol, now)

    def add(self, trade: Trade) -> BarUpdate | None:
        """Return the bar of the trade's period so far, never final.

        None where the beginning of the period is missing.
        """
        start = start_of_period(trade.timestamp, self._period)
        if trade.symbol not in self._complete_since or start < self._complete_since[trade.symbol]:
            return None
        price, so_far = trade.price, self._built.get(trade.symbol)
        if so_far is not None and so_far.start > start:
            return None
        if so_far is None or so_far.start < start:
            built = BarUpdate(trade.symbol, start, price, price, price, price, trade.size, final=False)
        else:
            high, low = max(so_far.high, price), min(so_far.low, price)
            volume = so_far.volume + trade.size
            built = BarUpdate(trade.symbol, start, so_far.open, high, low, price, volume, final=False)
        self._built[trade.symbol] = built
        return built


def start_of_period(moment: datetime, period: timedelta) -> datetime:
    """Return the beginning of the period that holds `moment`; weeks begin on Monday."""
    origin = FIRST_MONDAY if period >= timedelta(weeks=1) else EPOCH
    return moment - (moment - origin) % period
