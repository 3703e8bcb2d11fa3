"""Vintages: bars and corporate actions with the moment at which each was published.

Two times stand on every row: that of the bar and that of its publication (bitemporal tables: Snodgrass
1999, "Developing Time-Oriented Database Applications in SQL"; data of each vintage: Croushore and Stark
2001, "A real-time data set for macroeconomists"). A later row of the same bar revises it; one without a
close withdraws it. What was known at t is the latest publication, at or before t, of each bar.

Features at t are computed from what was known at t. Between two changes of the past nothing but new
bars is learned, and a backfill of what is known at the end of such a stretch gives all of its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, BarPanel, Timestamps, to_datetime, to_datetime64
from alphaloop.clock import as_utc
from alphaloop.errors import DataError
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.point_in_time.corporate_actions import apply

PUBLISHED = "published"
_MOMENT = pa.timestamp("ns", tz="UTC")
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Change:
    """A moment at which something before it came to be known otherwise, and of which symbols."""

    moment: datetime
    symbols: frozenset[str]


@dataclass(frozen=True)
class Vintages:
    """Rows of bars as traded with their `published`, and the corporate actions of their symbols.

    `rows` has the columns of `BARS_SCHEMA` (`adjustment` may be missing; `close` may be null),
    `published` and whatever else a table of bars may have. What is published within `latency` of its
    bar's close counts as published with it, for decisions are taken no sooner. `DataError` for a bar
    published before it closed, and for two rows of one bar published at once.
    """

    rows: pa.Table
    actions: tuple[CorporateAction, ...] = ()
    latency: timedelta = timedelta(0)
    symbols: tuple[str, ...] = ()
    _known: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)
    _until: npt.NDArray[np.int64] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        rows = _normalised(self.rows)
        known = _knowable(rows, self.latency)
        symbols = self.symbols or tuple(sorted(set(rows["symbol"].to_pylist())))
        values = {"rows": rows, "actions": tuple(self.actions), "symbols": symbols, "_known": known}
        for name, value in (values | {"_until": _superseded(rows, known)}).items():
            object.__setattr__(self, name, value)

    def with_rows(self, rows: pa.Table) -> Vintages:
        """These and further rows; the symbols and their order stay."""
        merged = pa.concat_tables([self.rows, _normalised(rows)], promote_options="default")
        return Vintages(merged, self.actions, self.latency, self.symbols)

    def with_actions(self, actions: Sequence[CorporateAction]) -> Vintages:
        """The same rows under further actions."""
        return Vintages(self.rows, (*self.actions, *actions), self.latency, self.symbols)

    def until(self, moment: datetime) -> Vintages:
        """What had been published at `moment`: the store as it stood then."""
        rows = self.rows.filter(pa.array(self._known <= to_datetime64(moment).astype(np.int64)))
        actions = tuple(action for action in self.actions if action.published <= as_utc(moment))
        return Vintages(rows, actions, self.latency, self.symbols)

    def as_of(self, moment: datetime) -> BarPanel:
        """What was known at `moment`: bars of all `symbols`, adjusted by the actions known then."""
        at = to_datetime64(moment).astype(np.int64)
        table = self.rows.filter(pa.array((self._known <= at) & (at < self._until)))
        return apply(BarPanel.from_table(table.drop_columns([PUBLISHED]), self.symbols), self.actions, moment)

    def timestamps(self) -> Timestamps:
        """The bars of which something was known at their close, `datetime64[ns]`, sorted."""
        times = _nanoseconds(self.rows, "timestamp")
        return np.unique(times[times == self._known]).astype("datetime64[ns]")

    def changes(self, after: datetime | None = None) -> list[Change]:
        """What changed the past, in order: late or revised bars, late or revised actions, new names.

        A split or dividend published before its first bar without it is no change of the past. Given
        `after`, the changes later than that.
        """
        touched: dict[datetime, set[str]] = {}
        since = np.iinfo(np.int64).min if after is None else to_datetime64(after).astype(np.int64)
        times = _nanoseconds(self.rows, "timestamp")
        late = np.flatnonzero((self._known > times) & (self._known > since))
        names = self.rows["symbol"].take(pa.array(late)).to_pylist()
        for moment, name in zip(self._known[late].astype("datetime64[ns]"), names, strict=True):
            touched.setdefault(not_before(moment), set()).add(name)
        bars = np.unique(times).astype("datetime64[ns]")
        for moment, symbols in action_changes(self.actions, bars):
            if after is None or moment > after:
                touched.setdefault(moment, set()).update(symbols)
        heirs = _heirs(self.actions)
        return [Change(moment, _with_heirs(touched[moment], heirs)) for moment in sorted(touched)]

    def publications_after_effect(self) -> list[datetime]:
        """The moments at which the past changed, sorted: a row of features from there on needs a rebuild."""
        return [change.moment for change in self.changes()]


def action_changes(
    actions: Sequence[CorporateAction], bars: Timestamps
) -> list[tuple[datetime, frozenset[str]]]:
    """When actions change what was known of `bars` (sorted), and of which symbols."""
    found = []
    ordered = sorted(actions, key=lambda action: action.published)
    for index, action in enumerate(ordered):
        same = [one for one in ordered[:index] if one.identifier and one.identifier == action.identifier]
        versions = [*same, action]
        symbols = frozenset(name for one in versions for name in (one.symbol, one.new_symbol) if name)
        published = as_utc(action.published)
        earliest = min(one.effective for one in versions)
        begin, end = np.searchsorted(bars, [to_datetime64(earliest), to_datetime64(published)])
        if begin < end and any(one.kind != "delisting" for one in versions):
            found.append((published, symbols))
        if action.kind == "symbol_change":
            # Its history moves under another name, however early that was known.
            found.append((max(published, action.effective), symbols))
    return found


def first_prints(bars: BarPanel) -> pa.Table:
    """The rows of `bars`, each published at its bar's close."""
    table = bars.to_table()
    return table.append_column(PUBLISHED, table["timestamp"])


def not_before(moment: np.datetime64) -> datetime:
    """`moment` to the microsecond, never earlier than it is."""
    return to_datetime(moment.astype("datetime64[ns]") + np.timedelta64(999, "ns"))


def _normalised(rows: pa.Table) -> pa.Table:
    for name in ("symbol", "timestamp", "close", PUBLISHED):
        if name not in rows.column_names:
            raise DataError(f"rows of vintages need '{name}'; these have: {', '.join(rows.column_names)}")
    for field_ in BARS_SCHEMA:
        if field_.name not in rows.column_names:
            value = 1.0 if field_.name == "adjustment" else None
            rows = rows.append_column(field_.name, pa.array([value] * len(rows), pa.float64()))
    try:
        for name in ("timestamp", PUBLISHED):
            rows = rows.set_column(rows.column_names.index(name), name, rows[name].cast(_MOMENT))
    except pa.ArrowInvalid as error:
        raise DataError(f"the times of these vintages are no moments in UTC: {error}") from error
    for name in ("symbol", "timestamp", PUBLISHED):
        if rows[name].null_count:
            raise DataError(f"rows of vintages need '{name}', and {rows[name].null_count} of these have none")
    # A column that is required in a table of bars may be null here, so that tables can be joined.
    return pa.table({name: rows[name] for name in rows.column_names}, metadata=rows.schema.metadata)


def _knowable(rows: pa.Table, latency: timedelta) -> npt.NDArray[np.int64]:
    """When each row counts as published, in nanoseconds."""
    times, published = _nanoseconds(rows, "timestamp"), _nanoseconds(rows, PUBLISHED)
    if (published < times).any():
        row = int(np.argmax(published < times))
        raise DataError(f"{_place(rows, row)}, before its close")
    prompt = published - times <= latency // timedelta(microseconds=1) * 1000
    known: npt.NDArray[np.int64] = np.where(prompt, times, published)
    return known


def _superseded(rows: pa.Table, known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """When each row's bar was next published, in nanoseconds."""
    symbols = rows["symbol"].combine_chunks().dictionary_encode().indices.to_numpy()
    times, published = _nanoseconds(rows, "timestamp"), _nanoseconds(rows, PUBLISHED)
    order = np.lexsort((published, times, symbols))
    same = (symbols[order][1:] == symbols[order][:-1]) & (times[order][1:] == times[order][:-1])
    twice = same & (published[order][1:] == published[order][:-1])
    if twice.any():
        raise DataError(f"{_place(rows, int(order[int(np.argmax(twice))]))}, twice; keep one of the two")
    until = np.full(len(rows), _NEVER, dtype=np.int64)
    until[order[:-1][same]] = known[order][1:][same]
    return until


def _place(rows: pa.Table, row: int) -> str:
    bar, moment = rows["timestamp"][row], rows[PUBLISHED][row]
    return f"the bar of {rows['symbol'][row]} at {bar} was published at {moment}"


def _nanoseconds(rows: pa.Table, name: str) -> npt.NDArray[np.int64]:
    values: npt.NDArray[np.int64] = rows[name].cast(pa.int64()).to_numpy()
    return values


def _heirs(actions: Sequence[CorporateAction]) -> dict[str, str]:
    return {action.symbol: action.new_symbol for action in actions if action.kind == "symbol_change"}


def _with_heirs(symbols: set[str], heirs: dict[str, str]) -> frozenset[str]:
    """`symbols` and those that they are or will be called."""
    found, waiting = set(symbols), list(symbols)
    while waiting:
        heir = heirs.get(waiting.pop())
        if heir is not None and heir not in found:
            found.add(heir)
            waiting.append(heir)
    return frozenset(found)
