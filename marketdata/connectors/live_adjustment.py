"""Live bars with the adjustment that history gives to bars of their day."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from alphaloop.bars import Bar
from marketdata.connectors.daily_factor import DailyFactor
from marketdata.connectors.session_hours import TIME_ZONE

# Return the factors of all streamed symbols, as known now; called in a thread.
Factors = Callable[[], Mapping[str, DailyFactor]]


class LiveAdjustment:
    """Adjusts live bars; requests factors once a trading day: actions apply between sessions."""

    def __init__(self, factors: Factors) -> None:
        self._ask = factors
        self._day: date | None = None
        self._values: dict[str, float] = {}

    async def prepare(self, moment: datetime) -> None:
        """Load the factors for the day of `moment`. Raises errors of the request."""
        day = _day(moment)
        if day == self._day:
            return
        factors = await asyncio.to_thread(self._ask)
        days = np.array([day], dtype="datetime64[D]")
        self._values = {symbol: float(factor.at(days)[0]) for symbol, factor in factors.items()}
        self._day = day

    def adjusted(self, bar: Bar) -> Bar:
        """Return `bar` with its day's factor; a bar of another day has its own from history."""
        if _day(bar.timestamp) != self._day:
            return bar
        return replace(bar, adjustment=self._values[bar.symbol])


def _day(moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(TIME_ZONE)).date()
