"""Streaming with a changing past: revised bars, late corporate actions, renamed symbols.

Bars enter as traded and are adjusted here. When something about the past becomes known, handles are rebuilt
from what is known then, before the next bar: those of the affected symbols, or all of them if a feature reads
other symbols, because past ranks change too. Values equal those of
`features.compute.vintage_backfill.backfill_by_vintage` over the same publications, as closely as a stream
equals a backfill: bit for bit where the features promise it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from alphaloop.bars import BarPanel, FloatMatrix, Slice, to_datetime64
from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from features.compute.batch import Panel
from features.compute.stream import FeatureStream
from features.feature_set import FeatureSet
from marketdata.point_in_time.action_record import MICROSECOND, CorporateAction
from marketdata.point_in_time.vintages import PUBLISHED, Vintages, first_prints, round_up_to_microsecond


@dataclass(frozen=True, slots=True)
class _SymbolStream:
    """A stream of `symbols`, of which only `asked` have not been rebuilt since."""

    stream: FeatureStream
    symbols: tuple[str, ...]
    asked: tuple[str, ...]


class VintageStream:
    """Features of the symbols of `vintages`, updated bar by bar from what was known at `as_of`.

    Later moments in `vintages` are ignored: they enter through `update` and `publish`.

    Parameters
    ----------
    feature_set : FeatureSet
        Features to compute.
    vintages : Vintages
        Bars with their publication times, and corporate actions.
    as_of : datetime
        Moment, with a time zone, up to which `vintages` is read.

    Raises
    ------
    DataError
        If the bars lack a column that a feature needs.
    """

    def __init__(self, feature_set: FeatureSet, vintages: Vintages, as_of: datetime) -> None:
        self._set = feature_set
        self._last = as_utc(as_of)
        self._vintages = vintages.until(self._last)
        # Future moments at which something other than a new bar becomes known or takes effect.
        self._ahead = {action.effective for action in self._vintages.actions}
        self._ahead = {moment for moment in self._ahead if moment > self._last}
        self._unstored: list[Slice] = []
        self.rebuilds = 0
        panel = self._vintages.as_of(self._last)
        self._adjustment = _last_adjustment(panel)
        self._parts: list[_SymbolStream] = []
        self._rebuild(panel, frozenset(panel.symbols))

    @property
    def last(self) -> datetime:
        """Moment up to which everything is taken into account."""
        return self._last

    def publish(self, rows: pa.Table | None = None, actions: Sequence[CorporateAction] = ()) -> None:
        """Accept late or revised bars (with `published`) and corporate actions, before the next `update`.

        Rows published before the last bar (or within the latency of it) that arrive only now count as
        published just after it: the features of that bar did not know them.
        """
        self._vintages, self._unstored = self._stored(), []
        soonest = self._last + self._vintages.latency + MICROSECOND
        if rows is not None and len(rows):
            moments = np.maximum(
                rows[PUBLISHED].cast(pa.int64()).to_numpy(), to_datetime64(soonest).astype(np.int64)
            ).astype("datetime64[ns]")
            stamps = pa.array(moments).cast(pa.timestamp("ns", tz="UTC"))
            rows = rows.set_column(rows.column_names.index(PUBLISHED), PUBLISHED, stamps)
            self._vintages = self._vintages.with_rows(rows)
            self._ahead |= {round_up_to_microsecond(moment) for moment in np.unique(moments)}
        late = [replace(action, published=max(as_utc(action.published), soonest)) for action in actions]
        self._vintages = self._vintages.with_actions(late)
        for action in late:
            self._ahead |= {action.published, max(action.effective, action.published)}

    def update(self, bars: Slice) -> Panel:
        """Update by one bar as traded and return its features.

        Parameters
        ----------
        bars : Slice
            Bar later than `last`, not adjusted.

        Returns
        -------
        ndarray of float32, shape (symbols, features)
            NaN for symbols that lack the bar.

        Raises
        ------
        DataError
            For a bar that is not later than `last`, or that is adjusted already.
        """
        if bars.timestamp <= self._last:
            raise DataError(
                f"the bar of {bars.timestamp.isoformat()} is not later than {self._last.isoformat()}, "
                "where this stream stands; later publications of it go to publish"
            )
        if (np.isfinite(bars.adjustment) & (bars.adjustment != 1.0)).any():
            raise DataError(f"the bar of {bars.timestamp.isoformat()} is adjusted; give it as traded")
        due = {moment for moment in self._ahead if moment <= bars.timestamp}
        if due:
            self._take_in(bars)
            self._ahead -= due
        else:
            self._unstored.append(bars)
        self._last = bars.timestamp
        factors = dict(zip(self._vintages.symbols, self._adjustment.tolist(), strict=True))
        adjustment = np.array([factors.get(symbol, 1.0) for symbol in bars.symbols])
        return self._computed(replace(bars, adjustment=adjustment))

    def _take_in(self, bars: Slice) -> None:
        """Adjust, and rebuild if the past changed, from what is known at this bar."""
        vintages = self._stored(bars)
        panel = vintages.as_of(bars.timestamp)
        touched = [one.symbols for one in vintages.changes(self._last) if one.moment <= bars.timestamp]
        if touched:
            self._rebuild(panel.between(end=bars.timestamp - MICROSECOND), frozenset().union(*touched))
            self.rebuilds += 1
        self._vintages, self._unstored, self._adjustment = vintages, [], _last_adjustment(panel)

    def _rebuild(self, history: BarPanel, touched: frozenset[str]) -> None:
        """Build new handles for the affected symbols, or for all."""
        own = tuple(symbol for symbol in history.symbols if symbol in touched)
        past = history.select(own)
        columns = [past.column(name) for name in self._set.graph.inputs]
        known = all(column is not None and np.isfinite(column).any() for column in columns)
        if self._set.graph.cross or not known:
            own, past = history.symbols, history
        kept = [
            replace(part, asked=tuple(one for one in part.asked if one not in own)) for part in self._parts
        ]
        self._parts = [part for part in kept if part.asked]
        self._parts.append(_SymbolStream(FeatureStream(self._set, own, past), own, own))

    def _computed(self, bars: Slice) -> Panel:
        """Return the values of each symbol from the newest stream that has it."""
        values = np.full((len(self._vintages.symbols), len(self._set)), np.nan, dtype=np.float32)
        for part in self._parts:
            computed = part.stream.update(bars)
            values[_indices(part.asked, self._vintages.symbols)] = computed[
                _indices(part.asked, part.symbols)
            ]
        return values

    def _stored(self, *bars: Slice) -> Vintages:
        """Return the vintages with all bars since, and `bars`."""
        alike: dict[tuple[tuple[str, ...], ...], list[Slice]] = {}
        for one in (*self._unstored, *bars):
            alike.setdefault((one.symbols, tuple(one.extra)), []).append(one)
        vintages = self._vintages
        for slices in alike.values():
            vintages = vintages.with_rows(first_prints(BarPanel.from_slices(slices)))
        return vintages


def _last_adjustment(panel: BarPanel) -> FloatMatrix:
    return panel.adjustment[-1] if len(panel) else np.ones(len(panel.symbols))


def _indices(wanted: tuple[str, ...], symbols: tuple[str, ...]) -> list[int]:
    index_of = {symbol: index for index, symbol in enumerate(symbols)}
    return [index_of[symbol] for symbol in wanted]
