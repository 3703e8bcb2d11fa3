"""Bars of a source as its streamer stores them, read one after the other up to its head."""

from __future__ import annotations

from datetime import datetime

from alphaloop.bars import BarPanel, Slice
from alphaloop.journal.positions.source_heads import SourceHead, SourceHeads
from marketdata.storage.snapshots import SnapshotStore


class StreamedBars:
    """Reader of one source's bars, from the first one after a bar on; a bar costs the same each time.

    Parameters
    ----------
    source : str
        Identity of the source.
    heads : SourceHeads
        Heads of the journal's database.
    snapshots : SnapshotStore
        Snapshots that the streamer writes.
    """

    def __init__(self, source: str, heads: SourceHeads, snapshots: SnapshotStore) -> None:
        self._source, self._heads, self._snapshots = source, heads, snapshots
        self._read: SourceHead | None = None
        self._symbols: tuple[str, ...] = ()
        self._waiting: list[Slice] = []

    def head(self) -> SourceHead | None:
        """Return the head of the source; None before its streamer has begun."""
        return self._heads.read(self._source)

    def past(self, until: datetime | None) -> BarPanel:
        """Return all stored bars up to `until`, and read on from the bar after it.

        Without `until`, those before the head's bar, or with it where it was never streamed: a new book
        begins with the newest bar that was.

        Raises `UnknownNameError` where the head's snapshot is gone, and `ValueError` before there is a head.
        """
        head = self.head()
        if head is None:
            raise ValueError(f"no bar of '{self._source}' was streamed yet")
        panel = BarPanel.from_table(self._snapshots.load(head.snapshot))
        self._symbols, self._read = panel.symbols, head
        if until is None:
            past = panel.part(0, len(panel) - (head.number > 0))
        else:
            past = panel.between(end=until)
        self._waiting = list(panel.part(len(past), len(panel)).slices())
        return past

    def next(self) -> tuple[Slice, SourceHead] | None:
        """Return the next bar and the head that it was found under; None if there is no newer one."""
        head = self._read
        if not self._waiting:
            head = self.head()
            if head is None or self._read is None or head.number == self._read.number:
                return None
            added = self._snapshots.load_after(head.snapshot, self._read.snapshot)
            self._waiting = list(BarPanel.from_table(added, self._symbols).slices())
            self._read = head
        if not self._waiting or head is None:
            return None
        return self._waiting.pop(0), head
