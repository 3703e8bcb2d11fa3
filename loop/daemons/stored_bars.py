"""Bars of a source as they are stored, read one by one as a book decides them."""

from __future__ import annotations

from datetime import datetime

from alphaloop.bars import BarPanel, Slice, to_datetime
from alphaloop.errors import MissingStateError, UnknownNameError
from alphaloop.settings.settings import Settings
from marketdata.configured_source import newest_snapshot
from marketdata.storage.snapshots import Snapshot, SnapshotStore


class StoredBars:
    """Bars of the settings' source up to a bar that was decided; of a later snapshot new bars alone are read.

    Parameters
    ----------
    settings : Settings
        Source and location of snapshots.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = SnapshotStore(settings.locations.snapshots)
        self._panel: BarPanel | None = None
        self._snapshot = ""

    def upto(self, as_of: datetime) -> BarPanel:
        """Return all bars up to `as_of`; raises `MissingStateError` while that bar is not stored."""
        if self._panel is None or to_datetime(self._panel.timestamps[-1]) < as_of:
            newest = newest_snapshot(self._settings)
            if newest is None or newest.last < as_of:
                raise MissingStateError(
                    f"the bar of {as_of.isoformat()} was decided, and is not stored in "
                    f"{self._store.objects.location}"
                )
            self._panel, self._snapshot = self._extended(newest), newest.id
        return self._panel.between(end=as_of)

    def at(self, as_of: datetime) -> Slice:
        """Return the bars that closed at `as_of`; raises as `upto` does."""
        panel = self.upto(as_of)
        return panel.at(len(panel) - 1)

    def _extended(self, newest: Snapshot) -> BarPanel:
        """Return the known bars with those that `newest` adds; all of it where it does not follow them."""
        if self._panel is not None:
            try:
                added = self._store.load_after(newest.id, self._snapshot)
            except UnknownNameError:
                added = None
            if added is not None and added.num_rows:
                return self._panel.then(BarPanel.from_table(added, self._panel.symbols))
        return BarPanel.from_table(self._store.load(newest.id))
