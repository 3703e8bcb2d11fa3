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

# The factors of all symbols that are streamed, as known now; asked for in a thread.
Factors = Callable[[], Mapping[str, DailyFactor]]


class LiveAdjustment:
    """Asks for the factors once a trading day: actions take effect between sessions."""

    def __init__(self, factors: Factors) -> None:
        self._ask = factors
        self._day: date | None = None
        self._values: dict[str, float] = {}

    async def prepare(self, moment: datetime) -> None:
        """Know the factors of the day of `moment`. Raises what asking for them raises."""
        day = _day(moment)
        if day == self._day:
            return
        factors = await asyncio.to_thread(self._ask)
        days = np.array([day], dtype="datetime64[D]")
        self._values = {symbol: float(factor.at(days)[0]) for symbol, factor in factors.items()}
        self._day = day

    def adjusted(self, bar: Bar) -> Bar:
        """`bar` with its day's factor; one of another day has been given its own by history."""
        if _day(bar.timestamp) != self._day:
            return bar
        return replace(bar, adjustment=self._values[bar.symbol])


def _day(moment: datetime) -> date:
    return moment.astimezone(ZoneInfo(TIME_ZONE)).date()
