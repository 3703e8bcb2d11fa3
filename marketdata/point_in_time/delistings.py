"""Delistings: the last return of a symbol that no longer trades.

A price series that just ends hides the final outcome: the shares of a failed company are worth little or
nothing after their last trade. Leaving it out flatters every portfolio that held them (Shumway 1997, "The
delisting bias in CRSP data", Journal of Finance 52, who found -30 % for delistings over performance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, FloatMatrix, to_datetime, to_datetime64
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.corporate_actions import actions_known_at


@dataclass(frozen=True, slots=True)
class Delisting:
    """A symbol's last bar, and the return from there to the holders' proceeds.

    `last` and `close` are the time and the price, as traded, of the last bar; `value` is the return.
    """

    symbol: str
    last: datetime
    close: float
    value: float

    @property
    def proceeds(self) -> float:
        """Final worth of a share."""
        return self.close * (1.0 + self.value)


def delistings(bars: BarPanel, actions: Sequence[CorporateAction], as_of: datetime) -> list[Delisting]:
    """Return the delistings published and effective at `as_of`, of symbols that had bars before."""
    result = []
    for action, row, column in _placed(bars, actions, as_of):
        before = np.flatnonzero(np.isfinite(bars.close[:row, column]))
        last, close = to_datetime(bars.timestamps[before[-1]]), float(bars.close[before[-1], column])
        result.append(Delisting(action.symbol, last, close, action.value))
    return result


def delisting_returns(bars: BarPanel, actions: Sequence[CorporateAction], as_of: datetime) -> FloatMatrix:
    """Return each delisting's return at the first bar of the market without it.

    float64 `[T, N]`, NaN elsewhere. Compound it after the last return of the price series.
    """
    returns = np.full(bars.close.shape, np.nan)
    for action, row, column in _placed(bars, actions, as_of):
        if row < len(bars):
            returns[row, column] = action.value
    return returns


def _placed(
    bars: BarPanel, actions: Sequence[CorporateAction], as_of: datetime
) -> list[tuple[CorporateAction, int, int]]:
    """Return each known delisting with the row at which it takes effect and its column."""
    placed = []
    for action in actions_known_at(actions, as_of):
        if action.kind == "delisting" and action.effective <= as_of and action.symbol in bars.symbols:
            row = int(np.searchsorted(bars.timestamps, to_datetime64(action.effective)))
            column = bars.symbols.index(action.symbol)
            if np.isfinite(bars.close[:row, column]).any():
                placed.append((action, row, column))
    return placed
