"""Retention of snapshots: which are kept, and for how long."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from alphaloop.errors import InputError
from alphaloop.storage.folder_store import FolderStore
from marketdata.quality.quality_report import QUARANTINE_SUFFIX, REPORT_SUFFIX
from marketdata.storage.snapshots import SUFFIX, Snapshot, SnapshotStore

# A partial file older than this was abandoned by its writer.
MIN_ABANDONED_AGE = timedelta(hours=1)
MAX_KEEP_DAYS = 100_000


def prune_snapshots(
    store: SnapshotStore,
    now: datetime,
    *,
    keep_days: float | None = None,
    keep_last: int | None = None,
    keep: Iterable[str] = (),
    dry_run: bool = False,
) -> tuple[str, ...]:
    """Remove snapshots that are no longer needed, and return their ids in the order of removal.

    Kept are each source's newest, those stored within `keep_days` of `now`, the `keep_last` stored last of
    each source, those named in `keep` (model versions and orders name theirs), and every ancestor of a kept
    one: a delta is useless without its base. Children are removed before their parents, so an interrupted run
    leaves no delta without its base and can be repeated. Quality reports and quarantines are removed with
    their snapshots, and so are abandoned partial files. `dry_run` only returns the ids. `InputError` unless
    at least one limit is given.
    """
    if keep_days is None and keep_last is None:
        raise InputError("pruning needs keep_days, keep_last or both")
    if keep_days is not None and not 0 <= keep_days <= MAX_KEEP_DAYS:
        raise InputError(f"keep_days is {keep_days}; it must be from 0 to {MAX_KEEP_DAYS}")
    if keep_last is not None and keep_last < 0:
        raise InputError(f"keep_last is {keep_last}; it must be 0 or more")
    stored = {snapshot.id: snapshot for snapshot in store.stored()}
    recent = _recent(store, stored, now, keep_days, keep_last)
    kept = _with_ancestors({*store.heads(), *keep, *recent}, stored)
    # A child holds its parent's rows and more.
    removed = sorted(stored.keys() - kept, key=lambda one: (-stored[one].rows, one))
    if dry_run:
        return tuple(removed)
    for snapshot_id in removed:
        store.forget(snapshot_id)
    _sweep(store, kept, now)
    return tuple(removed)


def _recent(
    store: SnapshotStore,
    stored: dict[str, Snapshot],
    now: datetime,
    keep_days: float | None,
    keep_last: int | None,
) -> set[str]:
    files = {one.name.removesuffix(SUFFIX): one.written for one in store.objects.listed()}
    written = {name: files[name] for name in stored if name in files}
    recent: set[str] = set()
    if keep_days is not None:
        oldest = now - timedelta(days=keep_days)
        recent |= {name for name, moment in written.items() if moment >= oldest}
    for source in {snapshot.source for snapshot in stored.values()} if keep_last else ():
        stored_of_source = [snapshot for snapshot in stored.values() if snapshot.source == source]
        # Deltas written in one burst may share a time stamp: the one with the later bar is newer.
        newest = sorted(
            stored_of_source, key=lambda snapshot: (written[snapshot.id], snapshot.last), reverse=True
        )
        recent |= {snapshot.id for snapshot in newest[:keep_last]}
    return recent


def _with_ancestors(snapshot_ids: set[str], stored: dict[str, Snapshot]) -> set[str]:
    kept: set[str] = set()
    for snapshot_id in snapshot_ids:
        link: str | None = snapshot_id
        while link is not None and link in stored and link not in kept:
            kept.add(link)
            link = stored[link].parent
    return kept


def _sweep(store: SnapshotStore, kept: set[str], now: datetime) -> None:
    """Remove companion files of removed snapshots, and abandoned partial files."""
    names = store.objects.names()
    present = kept | {name.removesuffix(SUFFIX) for name in names}
    for name in names:
        for suffix in (REPORT_SUFFIX, QUARANTINE_SUFFIX):
            if name.endswith(suffix) and name.removesuffix(suffix) not in present:
                store.objects.delete(name)
    if isinstance(store.objects, FolderStore):
        store.objects.delete_abandoned(now - MIN_ABANDONED_AGE)
