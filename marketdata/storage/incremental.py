"""Copy bars from a source into the store: a base, then deltas with newer bars."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import PRICE_COLUMNS, to_datetime, to_datetime64
from marketdata.quality.checks import DEFAULT_THRESHOLDS, Thresholds
from marketdata.quality.cleaning import NO_POLICIES, Cleaned, Policies, clean_bars
from marketdata.quality.quality_report import excluded_bars, write_quality_report
from marketdata.source import Source, identity_of, record_digests, stated_frequency
from marketdata.storage.snapshot_content import fill_nulls
from marketdata.storage.snapshots import Snapshot, SnapshotStore

# Relative difference below which two prices of one bar are the same, written with other digits.
SAME_PRICE_TOLERANCE = 1e-9
# Maximum delay of a late bar behind the others, whichever of the two is longer.
MAX_LATE_BARS, MAX_LATE_TIME = 63, timedelta(days=7)
# Maximum delay of the first bar after a requested start: holidays, and weeks that are dated by their end.
MAX_LATE_START = timedelta(days=10)
# Number of symbols named in a message.
MAX_SYMBOLS_SHOWN = 8
log = logging.getLogger(__name__)


def store_base_snapshot(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    start: datetime | None = None,
    until: datetime | None = None,
) -> Snapshot:
    """Store the bars of a source as a base snapshot, checked, with its quality report.

    The same bars give the same snapshot. Symbols that begin later than `start` are logged.

    Parameters
    ----------
    store
        Snapshots of the workspace.
    source
        Source of the bars.
    symbols
        Symbols to store; all that the source lists if none are named.
    policies
        Consequences of findings, by rule.
    thresholds
        Limits of the quality rules.
    start, until
        First and last close, aware; None for as far as the source has bars.

    Returns
    -------
    Snapshot
        The stored base.

    Raises
    ------
    DataError
        For bars that `policies` reject, and for an empty table.
    UnknownNameError
        For a symbol that the source lacks.
    InputError
        If the source cannot list its symbols and none are named, or the store cannot be written.
    VendorError
        If the source's vendor fails or refuses.
    """
    table = history_from(source, symbols, start, until)
    name, stated = f"source '{source.name}'", stated_frequency(source)
    cleaned = clean_bars(table, source.calendar, name, policies, thresholds, frequency=stated)
    saved = store.save(cleaned.table, identity_of(source), record_digests(source))
    write_quality_report(store.objects, saved.id, cleaned, policies, thresholds)
    return saved


def history_from(
    source: Source, symbols: Sequence[str], start: datetime | None, until: datetime | None = None
) -> pa.Table:
    """Return the bars of `source` from `start` to `until`; log symbols that begin later than `start`."""
    table = source.history(tuple(symbols), start, until)
    if start is not None:
        _log_late_starts(table, source, symbols, start)
    return table


def _log_late_starts(table: pa.Table, source: Source, symbols: Sequence[str], start: datetime) -> None:
    firsts = table.group_by("symbol", use_threads=False).aggregate([("timestamp", "min")])
    known = dict(zip(firsts["symbol"].to_pylist(), firsts["timestamp_min"].to_numpy(), strict=True))
    allowed = to_datetime64(start + MAX_LATE_START)
    late = [
        f"{symbol} {np.datetime_as_string(known[symbol], 'D') if symbol in known else 'never'}"
        for symbol in sorted(symbols or known)
        if symbol not in known or known[symbol] > allowed
    ]
    if late:
        more = f" and {len(late) - MAX_SYMBOLS_SHOWN} more" if len(late) > MAX_SYMBOLS_SHOWN else ""
        log.warning(
            "source '%s' does not reach back to %s for every symbol; it begins with: %s%s",
            *(source.name, start.date(), ", ".join(late[:MAX_SYMBOLS_SHOWN]), more),
        )


def update_snapshot(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    start: datetime | None = None,
) -> Snapshot:
    """Append the bars that the newest snapshot of a source lacks, as a delta.

    Without a snapshot, all of the source's bars (from `start`) become a base; without new bars, the newest
    snapshot is returned unchanged. Late bars, for times that are stored already, are filled in as far back as
    `later_bars` asks. Bars are checked before they are stored, and the report is kept beside the snapshot.

    Parameters
    ----------
    store
        Snapshots of the workspace.
    source
        Source of the bars.
    symbols
        Symbols to ask for; all that the source lists if none are named.
    policies
        Consequences of findings, by rule.
    thresholds
        Limits of the quality rules.
    start
        First close of a new base, aware; not used for a delta.

    Returns
    -------
    Snapshot
        The newest snapshot of the source.

    Raises
    ------
    DataError
        For bars that `policies` reject.
    UnknownNameError
        For a symbol that the source lacks.
    InputError
        If the source cannot list its symbols and none are named, or the store cannot be written.
    DamagedStoreError
        For a stored file that does not fit its hash.
    VendorError
        If the source's vendor fails or refuses.
    """
    known = newest_of_source(store, source)
    if known is None:
        return store_base_snapshot(store, source, symbols, policies, thresholds, start=start)
    aside = all_excluded_bars(store, known)
    cleaned = later_bars(store.load(known.id), source, symbols, policies, thresholds, aside=aside)
    if cleaned is None:
        return known
    saved = store.append(known.id, cleaned.table, record_digests(source))
    write_quality_report(store.objects, saved.id, cleaned, policies, thresholds)
    return saved


def newest_of_source(store: SnapshotStore, source: Source) -> Snapshot | None:
    """Return the newest snapshot of `source` with its options; None where there is none.

    Before options were part of its identity, a source's snapshots were kept under its name alone: the newest
    of those is taken over if it holds only bars that the source has too.
    """
    identity = identity_of(source)
    snapshot = store.latest(identity)
    former = store.latest(source.name) if snapshot is None and identity != source.name else None
    if former is None:
        return snapshot
    if not _holds_bars_of(store.load(former.id), source, former):
        log.warning(
            "snapshot %s of '%s' says nothing of options, and its bars are not those of '%s': it is left "
            "as it is, and a new one begins",
            *(former.id[:12], source.name, identity),
        )
        return None
    return store.rename(source.name, identity)


def _holds_bars_of(known: pa.Table, source: Source, described: Snapshot) -> bool:
    """Return True if every bar of `known` is one of the source's, with the same prices."""
    symbols = tuple(sorted(pc.unique(known["symbol"]).to_pylist()))
    listed = source.symbols()
    if listed and not set(symbols) <= set(listed):
        return False
    # Times are stored to the nanosecond and described to the microsecond.
    table = source.history(symbols, described.first, described.last + timedelta(microseconds=1))
    source_rows = table.group_by(["symbol", "timestamp"], use_threads=False).aggregate(
        [(name, "first") for name in PRICE_COLUMNS]
    )
    both = known.join(source_rows, ["symbol", "timestamp"], join_type="inner")
    return both.num_rows == known.num_rows and all(
        np.allclose(
            both[name].to_numpy(), both[f"{name}_first"].to_numpy(), SAME_PRICE_TOLERANCE, 0.0, equal_nan=True
        )
        for name in PRICE_COLUMNS
    )


def later_bars(
    known: pa.Table,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    until: datetime | None = None,
    aside: pa.Table | None = None,
) -> Cleaned | None:
    """Return the bars that `source` has (up to `until`) and `known` lacks, checked and adjusted alike.

    These are later bars, and late bars of known symbols: within `MAX_LATE_BARS` bars and `MAX_LATE_TIME` of
    the last, or since a symbol's last bar. `aside` are bars that were quarantined or dropped earlier (columns
    symbol and timestamp): they are not considered again. None where there are no new bars. Raises `DataError`
    for bars that `policies` reject.
    """
    if until is not None and until <= to_datetime(known["timestamp"].to_numpy().max()):
        return None
    table = bars_to_append(known, source.history(tuple(symbols), _first_requested(known), until))
    if aside is not None:
        table = missing_rows(aside, table)
    if not table.num_rows:
        return None
    name, stated = f"source '{source.name}'", stated_frequency(source)
    cleaned = clean_bars(table, source.calendar, name, policies, thresholds, before=known, frequency=stated)
    return cleaned if cleaned.table.num_rows else None


def bars_to_append(known: pa.Table, table: pa.Table) -> pa.Table:
    """Return the rows of `table` that `known` lacks, with their adjustment continued.

    For symbols that `known` does not have, only rows after its last bar are returned.

    Only ratios of adjustments mean anything, and an answer may begin anew at 1: where a symbol's last
    known bar is in `table` too, its factors are multiplied so that both agree on that bar.
    """
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    times = table["timestamp"].to_numpy()
    factor = table["adjustment"].to_numpy().copy()
    for symbol, (last, before) in _last_bars(known).items():
        own = symbols == symbol
        here = factor[own & (times == last)]
        if len(here) and here[0] > 0 and here[0] != before:
            factor[own] *= before / here[0]
    index = table.schema.get_field_index("adjustment")
    table = table.set_column(index, table.schema.field(index), pa.array(factor, from_pandas=True))
    here = pc.is_in(table["symbol"], value_set=pc.unique(known["symbol"]))
    follows = pc.greater(table["timestamp"], pc.max(known["timestamp"]))
    begun = pc.greater_equal(table["timestamp"], pc.min(known["timestamp"]))
    return missing_rows(known, table.filter(pc.or_(follows, pc.and_(here, begun))))


def join_bars(known: pa.Table, table: pa.Table) -> pa.Table:
    """Return the rows of both tables, sorted by timestamp and symbol."""
    both = pa.concat_tables([known, table], promote_options="default")
    return fill_nulls(both.sort_by([("timestamp", "ascending"), ("symbol", "ascending")]))


def missing_rows(known: pa.Table, table: pa.Table) -> pa.Table:
    """Return the rows of `table` with a symbol and time that `known` lacks, in their order.

    Times are compared to the microsecond.
    """
    rows = _keys(table).append_column("row", pa.array(np.arange(table.num_rows)))
    new_rows = rows.join(_keys(known), ["symbol", "time"], join_type="left anti")["row"].to_numpy()
    return table if len(new_rows) == table.num_rows else table.take(pa.array(np.sort(new_rows)))


def all_excluded_bars(store: SnapshotStore, snapshot: Snapshot) -> pa.Table:
    """Return symbol and timestamp of the bars that a snapshot and its parents excluded when stored."""
    parts, link = [], snapshot
    while True:
        parts.append(excluded_bars(store.objects, link.id))
        if link.parent is None:
            return pa.concat_tables(parts)
        link = store.describe(link.parent)


def _keys(table: pa.Table) -> pa.Table:
    microseconds = table["timestamp"].to_numpy().astype("datetime64[us]").astype(np.int64)
    return pa.table({"symbol": table["symbol"], "time": microseconds})


def _first_requested(known: pa.Table) -> datetime:
    """Return the first moment to request.

    Some way back from the last bar, or the last bar of the most incomplete symbol.
    """
    lasts = [last for last, _ in _last_bars(known).values()]
    times = np.unique(known["timestamp"].to_numpy())
    recent = min(times[-min(MAX_LATE_BARS, len(times))], times[-1] - np.timedelta64(MAX_LATE_TIME))
    return to_datetime(max(min(*lasts, recent), times[0]))


def _last_bars(known: pa.Table) -> dict[str, tuple[np.datetime64, float]]:
    """Return time and adjustment of each symbol's last bar; rows are sorted by timestamp."""
    ends = zip(
        known["symbol"].to_pylist(),
        known["timestamp"].to_numpy(),
        known["adjustment"].to_pylist(),
        strict=True,
    )
    return {symbol: (moment, factor) for symbol, moment, factor in ends}
