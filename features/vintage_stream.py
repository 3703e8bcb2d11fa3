"""Streaming where the past changes: revised bars, late corporate actions, symbols renamed.

Bars come in as traded and are adjusted here. Once something is learned about the past, the handles are
rebuilt from what is known then, before the next bar. The values equal those of
`features.vintages.backfill_by_vintage` over the same publications bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from alphaloop.market import BarPanel, FloatMatrix, Slice, to_datetime64
from features.build import Panel
from features.corporate_actions import INSTANT, CorporateAction
from features.sets import FeatureSet
from features.stream import FeatureStream
from features.vintages import PUBLISHED, Vintages, first_prints, not_before


class VintageStream:
    """Features of the symbols of `vintages`, standing after what was known of them at `as_of`.

    What the store says of later moments is not looked at: it comes in by `update` and `publish`.
    """

    def __init__(self, feature_set: FeatureSet, vintages: Vintages, as_of: datetime) -> None:
        self._set = feature_set
        self._last = as_utc(as_of)
        self._vintages = vintages.until(self._last)
        # Moments ahead at which something other than a new bar comes to be known or takes effect.
        self._ahead = {action.effective for action in self._vintages.actions}
        self._ahead = {moment for moment in self._ahead if moment > self._last}
        self._unstored: list[Slice] = []
        self.rebuilds = 0
        panel = self._vintages.as_of(self._last)
        self._adjustment = _last_adjustment(panel)
        self._stream = FeatureStream(feature_set, self._vintages.symbols, panel)

    @property
    def last(self) -> datetime:
        """The moment up to which everything is taken in."""
        return self._last

    def publish(self, rows: pa.Table | None = None, actions: Sequence[CorporateAction] = ()) -> None:
        """Late or revised bars (with `published`), and corporate actions, before the next `update`.

        What was published before the last bar but arrives only now counts as published just after it:
        the features of that bar did not know it.
        """
        self._store()
        soonest = self._last + INSTANT
        if rows is not None and len(rows):
            moments = np.maximum(
                rows[PUBLISHED].cast(pa.int64()).to_numpy(), to_datetime64(soonest).astype(np.int64)
            ).astype("datetime64[ns]")
            stamps = pa.array(moments).cast(pa.timestamp("ns", tz="UTC"))
            rows = rows.set_column(rows.column_names.index(PUBLISHED), PUBLISHED, stamps)
            self._vintages = self._vintages.with_rows(rows)
            self._ahead |= {not_before(moment) for moment in np.unique(moments)}
        late = [replace(action, published=max(as_utc(action.published), soonest)) for action in actions]
        self._vintages = self._vintages.with_actions(late)
        for action in late:
            self._ahead |= {action.published, max(action.effective, action.published)}

    def update(self, bars: Slice) -> Panel:
        """The features of one more bar as traded, float32 `[symbols, features]`; NaN for symbols without.

        Raises `DataError` for a bar that is not later than `last`, or that is adjusted already.
        """
        if bars.timestamp <= self._last:
            raise DataError(
                f"the bar of {bars.timestamp.isoformat()} is not later than {self._last.isoformat()}, "
                "where this stream stands; later publications of it go to publish"
            )
        if (np.isfinite(bars.adjustment) & (bars.adjustment != 1.0)).any():
            raise DataError(f"the bar of {bars.timestamp.isoformat()} is adjusted; give it as traded")
        self._unstored.append(bars)
        due = {moment for moment in self._ahead if moment <= bars.timestamp}
        if due:
            self._ahead -= due
            self._take_in(bars.timestamp)
        self._last = bars.timestamp
        factors = dict(zip(self._vintages.symbols, self._adjustment.tolist(), strict=True))
        adjustment = np.array([factors.get(symbol, 1.0) for symbol in bars.symbols])
        return self._stream.update(replace(bars, adjustment=adjustment))

    def _take_in(self, moment: datetime) -> None:
        """Adjust, and rebuild where the past changed, by what is known at the bar of `moment`."""
        self._store()
        panel = self._vintages.as_of(moment)
        self._adjustment = _last_adjustment(panel)
        if any(self._last < change.moment <= moment for change in self._vintages.changes()):
            # All handles: the ranks of a symbol that was not touched may have changed with the others'.
            history = panel.between(end=moment - INSTANT)
            self._stream = FeatureStream(self._set, self._vintages.symbols, history)
            self.rebuilds += 1

    def _store(self) -> None:
        if self._unstored:
            self._vintages = self._vintages.with_rows(first_prints(BarPanel.from_slices(self._unstored)))
            self._unstored = []


def _last_adjustment(panel: BarPanel) -> FloatMatrix:
    return panel.adjustment[-1] if len(panel) else np.ones(len(panel.symbols))
