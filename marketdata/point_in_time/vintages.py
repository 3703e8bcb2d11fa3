"""Vintages: bars and corporate actions with the time of their publication.

Every row has two times: that of the bar and that of its publication (bitemporal tables: Snodgrass
1999, "Developing Time-Oriented Database Applications in SQL"; data of each vintage: Croushore and Stark
2001, "A real-time data set for macroeconomists"). A later row of the same bar revises it; one without a
close withdraws it. The state known at t is the latest publication, at or before t, of each bar.

Features at t are computed from the state known at t. Between two changes of the past only new bars are
learned, and a backfill of the state at the end of such a stretch gives all of its rows.
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
from marketdata.point_in_time.corporate_actions import apply_actions

PUBLISHED = "published"
_MOMENT = pa.timestamp("ns", tz="UTC")
_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class PastChange:
    """A moment at which knowledge of earlier bars changed, and the symbols concerned."""

    moment: datetime
    symbols: frozenset[str]


@dataclass(frozen=True)
class Vintages:
    """Bars as traded with their time of publication, and their corporate actions.

    Parameters
    ----------
    rows
        Table with the columns of `BARS_SCHEMA` (`adjustment` may be missing; `close` may be null),
        `published`, and any other column of a table of bars.
    actions
        Corporate actions of the symbols.
    latency
        A row published within this time after its bar's close counts as published at the close, since
        decisions are taken no sooner.
    symbols
        Symbols and their order in panels; by default those of `rows`, sorted.

    Raises
    ------
    DataError
        For a bar published before it closed, and for two rows of one bar published at once.

    References
    ----------
    Snodgrass (1999), "Developing Time-Oriented Database Applications in SQL".
    Croushore and Stark (2001), "A real-time data set for macroeconomists".
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
        """Return these vintages with further rows; the symbols and their order stay."""
        merged = pa.concat_tables([self.rows, _normalised(rows)], promote_options="default")
        return Vintages(merged, self.actions, self.latency, self.symbols)

    def with_actions(self, actions: Sequence[CorporateAction]) -> Vintages:
        """Return the same rows with further actions."""
        return Vintages(self.rows, (*self.actions, *actions), self.latency, self.symbols)

    def until(self, moment: datetime) -> Vintages:
        """Return everything published by `moment`: the store in its state at that time."""
        rows = self.rows.filter(pa.array(self._known <= to_datetime64(moment).astype(np.int64)))
        actions = tuple(action for action in self.actions if action.published <= as_utc(moment))
        return Vintages(rows, actions, self.latency, self.symbols)

    def as_of(self, moment: datetime) -> BarPanel:
        """Return the bars known at `moment` of all `symbols`, adjusted by the actions known then."""
        at = to_datetime64(moment).astype(np.int64)
        table = self.rows.filter(pa.array((self._known <= at) & (at < self._until)))
        return apply_actions(
            BarPanel.from_table(table.drop_columns([PUBLISHED]), self.symbols), self.actions, moment
        )

    def timestamps(self) -> Timestamps:
        """Return the closes at which a bar was already known, `datetime64[ns]`, sorted."""
        times = _nanoseconds(self.rows, "timestamp")
        return np.unique(times[times == self._known]).astype("datetime64[ns]")

    def changes(self, after: datetime | None = None) -> list[PastChange]:
        """Return the changes of the past in order: late or revised bars and actions, new names.

        A split or dividend published before its first bar without it is no change of the past. With `after`,
        only later changes are returned.
        """
        touched: dict[datetime, set[str]] = {}
        since = np.iinfo(np.int64).min if after is None else to_datetime64(after).astype(np.int64)
        times = _nanoseconds(self.rows, "timestamp")
        late = np.flatnonzero((self._known > times) & (self._known > since))
        names = self.rows["symbol"].take(pa.array(late)).to_pylist()
        for moment, name in zip(self._known[late].astype("datetime64[ns]"), names, strict=True):
            touched.setdefault(round_up_to_microsecond(moment), set()).add(name)
        bars = np.unique(times).astype("datetime64[ns]")
        for moment, symbols in action_changes(self.actions, bars):
            if after is None or moment > after:
                touched.setdefault(moment, set()).update(symbols)
        heirs = _heirs(self.actions)
        return [PastChange(moment, _with_heirs(touched[moment], heirs)) for moment in sorted(touched)]

    def publications_after_effect(self) -> list[datetime]:
        """Return the moments at which the past changed, sorted.

        Rows of features from the first of them on need a rebuild.
        """
        return [change.moment for change in self.changes()]


def action_changes(
    actions: Sequence[CorporateAction], bars: Timestamps
) -> list[tuple[datetime, frozenset[str]]]:
    """Return the moments at which actions changed the known `bars` (sorted), with the symbols."""
    changes = []
    ordered = sorted(actions, key=lambda action: action.published)
    for index, action in enumerate(ordered):
        same = [
            version
            for version in ordered[:index]
            if version.identifier and version.identifier == action.identifier
        ]
        versions = [*same, action]
        symbols = frozenset(
            name for version in versions for name in (version.symbol, version.new_symbol) if name
        )
        published = as_utc(action.published)
        earliest = min(version.effective for version in versions)
        begin, end = np.searchsorted(bars, [to_datetime64(earliest), to_datetime64(published)])
        if begin < end and any(version.kind != "delisting" for version in versions):
            changes.append((published, symbols))
        if action.kind == "symbol_change":
            # The history moves under another symbol, however early the change was announced.
            changes.append((max(published, action.effective), symbols))
    return changes


def first_prints(bars: BarPanel) -> pa.Table:
    """Return the rows of `bars`, each published at its bar's close."""
    table = bars.to_table()
    return table.append_column(PUBLISHED, table["timestamp"])


def round_up_to_microsecond(moment: np.datetime64) -> datetime:
    """Return `moment` to the microsecond, rounded up."""
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
    # Columns required in a table of bars are nullable here, so that tables can be joined.
    return pa.table({name: rows[name] for name in rows.column_names}, metadata=rows.schema.metadata)


def _knowable(rows: pa.Table, latency: timedelta) -> npt.NDArray[np.int64]:
    """Return the moment from which each row counts as published, in nanoseconds."""
    times, published = _nanoseconds(rows, "timestamp"), _nanoseconds(rows, PUBLISHED)
    if (published < times).any():
        row = int(np.argmax(published < times))
        raise DataError(f"{_place(rows, row)}, before its close")
    prompt = published - times <= latency // timedelta(microseconds=1) * 1000
    known: npt.NDArray[np.int64] = np.where(prompt, times, published)
    return known


def _superseded(rows: pa.Table, known: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the next publication of each row's bar, in nanoseconds."""
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
    """Return `symbols` and every later symbol of the same companies."""
    names, waiting = set(symbols), list(symbols)
    while waiting:
        heir = heirs.get(waiting.pop())
        if heir is not None and heir not in names:
            names.add(heir)
            waiting.append(heir)
    return frozenset(names)
