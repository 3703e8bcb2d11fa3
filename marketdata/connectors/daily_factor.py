"""One symbol's adjustment by trading day, from dated actions and daily closes as traded.

The series begins with the vendor's first day, whatever part of it was requested, so that a bar's adjustment
is the same in every answer. See `marketdata.point_in_time.corporate_actions` for the factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from marketdata.calendars import Moments, closes_of
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.corporate_actions import adjustment_of

Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]

ACTIONS_SCHEMA = pa.schema(
    [
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("ex_date", pa.date32(), nullable=False),
        pa.field("published", pa.timestamp("ns", tz="UTC"), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("timezone", pa.string(), nullable=False),
    ]
)


def actions_table(actions: Iterable[CorporateAction]) -> pa.Table:
    """Return actions as rows of `ACTIONS_SCHEMA`, by ex-date, symbol and kind."""
    ordered = sorted(actions, key=lambda action: (action.ex_date, action.symbol, action.kind))
    rows = [{name: getattr(action, name) for name in ACTIONS_SCHEMA.names} for action in ordered]
    return pa.Table.from_pylist(rows, schema=ACTIONS_SCHEMA)


@dataclass(frozen=True)
class DailyFactor:
    """`closes[t]` as traded on `days[t]` (`datetime64[D]`, sorted), and the symbol's actions."""

    days: Days
    closes: Floats
    actions: Sequence[CorporateAction]

    def at(self, days: Days) -> Floats:
        """Return the adjustment of bars on each of `days`, `datetime64[D]` in any order.

        float64 of the same shape. A day without a close of its own (today, during its session) includes its
        actions too.
        """
        every = np.union1d(self.days, days)
        closes = np.full(len(every), np.nan)
        closes[np.searchsorted(every, self.days)] = self.closes
        moments: Moments = closes_of(every.tolist())
        factors = adjustment_of(moments, closes, self.actions)
        selected: Floats = factors[np.searchsorted(every, days)]
        return selected
