"""From a source into the store: a base, and what the source has had since as deltas."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.market import PRICE_COLUMNS, to_datetime, to_datetime64
from features.cleaning import NO_POLICIES, Cleaned, Policies, clean
from features.quality import DEFAULTS, Thresholds
from features.quality_report import keep
from features.source import Source, identity_of
from features.storage.snapshots import Snapshot, SnapshotStore

# Two prices of one bar that differ by less are the same, written with other digits.
SAME_PRICE = 1e-9
# The first bar after a day may be so much later: holidays, and weeks that are dated by their end.
MAX_LATE_START = timedelta(days=10)
# So many symbols are named.
SHOWN = 8
log = logging.getLogger(__name__)


def take(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
    *,
    start: datetime | None = None,
    until: datetime | None = None,
) -> Snapshot:
    """Store the bars of `source` from `start` up to `until` as a base, checked, with its quality report.

    Without `start`, as far back as the source has bars; symbols that begin later than `start` are named.
    The same bars give the same snapshot. Raises `DataError` for what `policies` reject.
    """
    table = source.history(tuple(symbols), start, until)
    if start is not None:
        tell_late_starts(table, source, symbols, start)
    cleaned = clean(table, source.calendar, f"source '{source.name}'", policies, thresholds)
    saved = store.save(cleaned.table, identity_of(source))
    keep(store.folder, saved.id, cleaned, policies, thresholds)
    return saved


def tell_late_starts(table: pa.Table, source: Source, symbols: Sequence[str], start: datetime) -> None:
    """Log the symbols of whose bars the source has none, or none soon after `start`."""
    firsts = table.group_by("symbol", use_threads=False).aggregate([("timestamp", "min")])
    known = dict(zip(firsts["symbol"].to_pylist(), firsts["timestamp_min"].to_numpy(), strict=True))
    allowed = to_datetime64(start + MAX_LATE_START)
    late = [
        f"{symbol} {np.datetime_as_string(known[symbol], 'D') if symbol in known else 'never'}"
        for symbol in sorted(symbols or known)
        if symbol not in known or known[symbol] > allowed
    ]
    if late:
        more = f" and {len(late) - SHOWN} more" if len(late) > SHOWN else ""
        log.warning(
            "source '%s' does not reach back to %s for every symbol; it begins with: %s%s",
            *(source.name, start.date(), ", ".join(late[:SHOWN]), more),
        )


def update(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
    *,
    start: datetime | None = None,
) -> Snapshot:
    """The newest snapshot of `source`, with the bars that are later than its last appended as a delta.

    Where there is no snapshot yet, all of the source's bars (from `start`) become a base; where nothing is
    new, the newest one comes back as it is. Only rows from the last bar on are asked of the source: what came
    later for times before it is not seen, and needs a new base. Bars are checked before they are
    stored, and the report is kept beside the snapshot. Raises `DataError` for what `policies` reject.
    """
    known = newest(store, source)
    if known is None:
        return take(store, source, symbols, policies, thresholds, start=start)
    cleaned = later(store.load(known.id), source, symbols, policies, thresholds)
    if cleaned is None:
        return known
    saved = store.append(known.id, cleaned.table)
    keep(store.folder, saved.id, cleaned, policies, thresholds)
    return saved


def newest(store: SnapshotStore, source: Source) -> Snapshot | None:
    """The newest snapshot of `source` with its options; None where there is none.

    Before options were part of its identity, a source's snapshots were kept under its name alone: the
    newest of those is taken over where it holds nothing but bars that the source has too.
    """
    identity = identity_of(source)
    found = store.latest(identity)
    former = store.latest(source.name) if found is None and identity != source.name else None
    if former is None:
        return found
    if not _holds_bars_of(store.load(former.id), source, former):
        log.warning(
            "snapshot %s of '%s' says nothing of options, and its bars are not those of '%s': it is left "
            "as it is, and a new one begins",
            *(former.id[:12], source.name, identity),
        )
        return None
    return store.rename(source.name, identity)


def _holds_bars_of(known: pa.Table, source: Source, described: Snapshot) -> bool:
    """Whether every bar of `known` is one of the source's, with the same prices."""
    symbols = tuple(sorted(pc.unique(known["symbol"]).to_pylist()))
    listed = source.symbols()
    if listed and not set(symbols) <= set(listed):
        return False
    # Times are stored to the nanosecond, and told to the microsecond.
    table = source.history(symbols, described.first, described.last + timedelta(microseconds=1))
    there = table.group_by(["symbol", "timestamp"], use_threads=False).aggregate(
        [(name, "first") for name in PRICE_COLUMNS]
    )
    both = known.join(there, ["symbol", "timestamp"], join_type="inner")
    return both.num_rows == known.num_rows and all(
        np.allclose(both[name].to_numpy(), both[f"{name}_first"].to_numpy(), SAME_PRICE, 0.0, equal_nan=True)
        for name in PRICE_COLUMNS
    )


def later(
    known: pa.Table,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
    *,
    until: datetime | None = None,
) -> Cleaned | None:
    """What `source` has had (up to `until`) since the bars of `known`, checked, adjusted as those are.

    None where there is nothing. Raises `DataError` for what `policies` reject.
    """
    if until is not None and until <= to_datetime(known["timestamp"].to_numpy().max()):
        return None
    table = continued(known, source.history(tuple(symbols), _ask_from(known), until))
    if not table.num_rows:
        return None
    cleaned = clean(table, source.calendar, f"source '{source.name}'", policies, thresholds, before=known)
    return cleaned if cleaned.table.num_rows else None


def continued(known: pa.Table, table: pa.Table) -> pa.Table:
    """The rows of `table` after the last of `known`, their adjustment carried on from there.

    Only ratios of adjustments mean anything, and an answer may begin anew at 1: where a symbol's last
    known bar is in `table` too, its factors are multiplied so that both agree on that bar.
    """
    symbols = table["symbol"].to_numpy(zero_copy_only=False)
    times = table["timestamp"].to_numpy()
    factor = table["adjustment"].to_numpy().copy()
    for symbol, (last, before) in _last_bars(known).items():
        mine = symbols == symbol
        here = factor[mine & (times == last)]
        if len(here) and here[0] > 0 and here[0] != before:
            factor[mine] *= before / here[0]
    place = table.schema.get_field_index("adjustment")
    table = table.set_column(place, table.schema.field(place), pa.array(factor, from_pandas=True))
    return table.filter(pc.greater(table["timestamp"], pc.max(known["timestamp"])))


def _ask_from(known: pa.Table) -> datetime:
    """From where on to ask: the last bar, or that of the symbol which lacks bars the longest.

    The latter only where adjustments have to be carried on, for which each symbol's last bar is needed.
    """
    lasts = [last for last, _ in _last_bars(known).values()]
    adjusted = pc.any(pc.not_equal(known["adjustment"], 1.0)).as_py()
    return to_datetime(min(lasts) if adjusted else max(lasts))


def _last_bars(known: pa.Table) -> dict[str, tuple[np.datetime64, float]]:
    """Time and adjustment of each symbol's last bar; rows are sorted by timestamp."""
    ends = zip(
        known["symbol"].to_pylist(),
        known["timestamp"].to_numpy(),
        known["adjustment"].to_pylist(),
        strict=True,
    )
    return {symbol: (moment, factor) for symbol, moment, factor in ends}
