"""From a source into the store: a base, and what the source has had since as deltas."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.market import to_datetime
from features.cleaning import NO_POLICIES, Cleaned, Policies, clean
from features.quality import DEFAULTS, Thresholds
from features.quality_report import keep
from features.source import Source
from features.storage.snapshots import Snapshot, SnapshotStore


def take(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
    *,
    until: datetime | None = None,
) -> Snapshot:
    """Store the bars of `source` (up to `until`) as a base, checked, its quality report beside it.

    The same bars give the same snapshot. Raises `DataError` for what `policies` reject.
    """
    table = source.history(tuple(symbols), None, until)
    cleaned = clean(table, source.calendar, f"source '{source.name}'", policies, thresholds)
    saved = store.save(cleaned.table, source.name)
    keep(store.folder, saved.id, cleaned, policies, thresholds)
    return saved


def update(
    store: SnapshotStore,
    source: Source,
    symbols: Sequence[str] = (),
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
) -> Snapshot:
    """The newest snapshot of `source`, with the bars that are later than its last appended as a delta.

    Where there is no snapshot yet, all of the source's bars become a base; where nothing is new, the
    newest one comes back as it is. Only rows from the last bar on are asked of the source: what came
    later for times before it is not seen, and needs a new base. Bars are checked before they are
    stored, and the report is kept beside the snapshot. Raises `DataError` for what `policies` reject.
    """
    newest = store.latest(source.name)
    if newest is None:
        return take(store, source, symbols, policies, thresholds)
    cleaned = later(store.load(newest.id), source, symbols, policies, thresholds)
    if cleaned is None:
        return newest
    saved = store.append(newest.id, cleaned.table)
    keep(store.folder, saved.id, cleaned, policies, thresholds)
    return saved


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
