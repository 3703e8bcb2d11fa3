"""A simulated market with a planted signal, to test the loop against a known truth.

Twenty symbols follow a common factor with clustered volatility, plus noise of their own. The noise contains
a planted reversal: a symbol that outperformed the others over the last month is likely to underperform next.
Nothing here is market data, and no result on it says anything about markets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property

import numpy as np
import pyarrow as pa

from alphaloop.bars import BarPanel, FloatMatrix, with_calendar
from alphaloop.errors import InputError
from alphaloop.statistics.ranks import centred_rank
from marketdata.calendars import session_closes
from marketdata.source import CalendarName, close_only_panel, require_frequency, require_symbols, select_bars

SYMBOLS = tuple(f"SIM{index:02d}" for index in range(20))
FIRST_DAY, LAST_DAY = date(2015, 1, 2), date(2020, 12, 31)
LOOKBACK = 21
# Daily standard deviations of the common factor and of a symbol's own noise; together about 2 %.
FACTOR_VOLATILITY, OWN_VOLATILITY = 0.010, 0.017
# The log of the factor's volatility is an AR(1) process: volatile periods last weeks.
PERSISTENCE, VOLATILITY_OF_VOLATILITY = 0.97, 0.10
DRIFT = 0.0003


@dataclass(frozen=True)
class SimulatedSource:
    """Source `simulated`: 20 symbols with a planted one-month reversal.

    `strength` is the daily pull-back of the best-performing symbol, in standard deviations of its own daily
    noise; 0 plants nothing. `InputError` unless it is in [0, 1).
    """

    seed: int = 7
    strength: float = 0.14
    name: str = "simulated"
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.strength < 1:
            raise InputError(f"strength is {self.strength}; it must lie in [0, 1)")

    @property
    def description(self) -> str:
        """One line that calls the data simulated."""
        return "SIMULATED, not market data: 20 symbols, daily closes 2015-2020, with a planted reversal"

    @property
    def identity(self) -> str:
        """The name, with seed and strength where they differ from the defaults."""
        usual = (SimulatedSource.seed, SimulatedSource.strength)
        options = f"?seed={self.seed}&strength={self.strength:g}"
        return self.name if (self.seed, self.strength) == usual else self.name + options

    def symbols(self) -> tuple[str, ...]:
        """Return SIM00 to SIM19."""
        return SYMBOLS

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return daily bars, the same for the same seed; open, high, low and volume are null."""
        require_frequency(self, frequency)
        selected = require_symbols(self, symbols)
        return select_bars(self._table, selected, start, end)

    @cached_property
    def _table(self) -> pa.Table:
        closes = session_closes(FIRST_DAY, LAST_DAY, self.calendar)
        panel: BarPanel = close_only_panel(closes, SYMBOLS, _walk(len(closes), self.seed, self.strength))
        return with_calendar(panel.to_table(), self.calendar)


SOURCE = SimulatedSource()


def _walk(bars: int, seed: int, strength: float) -> FloatMatrix:
    """Simulate prices, float64 `[bars, symbols]`."""
    random = np.random.default_rng(seed)
    count = len(SYMBOLS)
    beta = random.uniform(0.7, 1.3, count)
    logs = np.empty((bars, count))
    logs[0] = np.log(random.uniform(20, 200, count))
    storm = 0.0
    for bar in range(1, bars):
        storm = PERSISTENCE * storm + VOLATILITY_OF_VOLATILITY * random.standard_normal()
        factor = DRIFT + FACTOR_VOLATILITY * np.exp(storm) * random.standard_normal()
        own = random.standard_normal(count)
        if bar > LOOKBACK:
            lead = logs[bar - 1] - logs[bar - 1 - LOOKBACK]
            own -= strength * centred_rank(lead[None])[0]
        logs[bar] = logs[bar - 1] + beta * factor + OWN_VOLATILITY * own
    prices: FloatMatrix = np.exp(logs).round(4)
    return prices
