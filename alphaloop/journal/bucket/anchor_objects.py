"""Anchors in a bucket: one object an anchor, which cannot be replaced.

An object is called `STREAM/<10^18 - seq>`, in 18 digits, so that the newest lists first; the start of a
stream, for which 18 digits do not suffice, is `STREAM/start` and lists last. Its body names stream, sequence
number, head, token, and number and digest of the anchor before, so that a missing one is found. A thread
writes them a little behind the records. What is not anchored yet is in memory and in a file on the writer's
own disk; where the bucket is away for longer than a bound, no further record is written.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alphaloop.clock import monotonic
from alphaloop.errors import AlphaloopError, ChainBrokenError, DamagedStoreError, VendorError
from alphaloop.journal.anchors import Anchor, AnchorFile, AnchorSlack, StreamAnchors
from alphaloop.journal.bucket.stored_anchor import StoredAnchor, anchor_folder
from alphaloop.storage.object_store import MissingObjectError, ObjectStore

READERS = 16
SECONDS_BETWEEN_ATTEMPTS = 0.5


class AnchorObjects:
    """The anchors of a journal as objects of a store.

    Parameters
    ----------
    store : ObjectStore
        Bucket of the anchors.
    spool : Path
        File on this machine's disk for heads that are announced and not anchored yet.
    seconds, records : float, int
        How far the thread may be behind: the older of both counts.
    unanchored_seconds : float
        Seconds after which no record is written while a head cannot be anchored.
    """

    def __init__(
        self,
        store: ObjectStore,
        spool: Path,
        *,
        seconds: float = 1.0,
        records: int = 100,
        unanchored_seconds: float = 300.0,
    ) -> None:
        self._store, self._spool = store, AnchorFile(spool)
        self._seconds, self._records, self._bound = seconds, records, unanchored_seconds
        self._slack = AnchorSlack(records, unanchored_seconds + seconds)
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[Anchor, float, int]] = {}
        self._newest: dict[str, StoredAnchor] = {}
        self._failure: AlphaloopError | None = None
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def location(self) -> str:
        """URL of the anchors."""
        return self._store.location

    @property
    def unanchored_seconds(self) -> float:
        """Seconds since the oldest head that is not anchored yet; 0 where all are."""
        with self._changed:
            return max((monotonic() - since for _, since, _ in self._waiting.values()), default=0.0)

    def announce(self, stream: str, seq: int, digest: str) -> None:
        """Write the head of a batch to this machine's disk before its commit.

        Raises `OSError` where that fails, or where heads have waited beyond the bound for the bucket, and
        `ChainBrokenError` where the bucket holds an anchor of another record of this number.
        """
        if isinstance(self._failure, ChainBrokenError):
            raise self._failure
        waited = self.unanchored_seconds
        if waited > self._bound:
            raise OSError(
                f"for {waited:.0f} s no anchor could be written there, and journal.unanchored_seconds is "
                f"{self._bound:g}; last: {self._failure or 'no answer'}"
            )
        self._spool.announce(stream, seq, digest)

    def append(self, anchor: Anchor) -> None:
        """Let the thread write the anchor of a committed batch; the start of a stream is written at once."""
        if anchor.seq == 0:
            self._store_anchor(anchor)
        self._spool.append(anchor)
        if anchor.seq == 0:
            return
        with self._changed:
            _, since, count = self._waiting.get(anchor.stream, (anchor, monotonic(), 0))
            self._waiting[anchor.stream] = (anchor, since, count + 1)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def read(self) -> list[Anchor]:
        """Read every anchor: those in the bucket by stream and number, then those on this machine's disk.

        Raises `DamagedStoreError` for an object that is no anchor, and for an anchor whose predecessor is
        gone or was replaced; `VendorError` where the bucket does not answer.
        """
        with ThreadPoolExecutor(READERS) as readers:
            stored = list(readers.map(self._read, self._store.names()))
        digests = {(one.anchor.stream, one.anchor.seq): one.digest for one in stored}
        for one in stored:
            if one.before is None:
                continue
            seq, digest = one.before
            found = digests.get((one.anchor.stream, seq))
            if found != digest:
                what = "is gone" if found is None else "was replaced"
                raise DamagedStoreError(
                    f"{self.location}: the anchor of record {seq} of stream '{one.anchor.stream}' {what}, "
                    f"which the anchor of record {one.anchor.seq} names; restore it from a copy of the bucket"
                )
        ordered = sorted((one.anchor for one in stored), key=lambda anchor: (anchor.stream, anchor.seq))
        return [*ordered, *self._spool.read()]

    def newest_of(self, stream: str) -> StreamAnchors:
        """Read the newest anchor of `stream`, and what this machine's disk says of it.

        While the bucket is away, the newest anchor that this process has seen stands for it.
        """
        try:
            newest = self._read_newest(stream)
        except VendorError:
            newest = self._newest.get(stream)
            if newest is None:
                raise
        spooled = self._spool.newest_of(stream)
        known = [*spooled.required, *(Anchor(stream, *head, announced=True) for head in spooled.announced)]
        if newest is not None:
            known.append(newest.anchor)
        return StreamAnchors.of(stream, known, self._slack)

    def last(self, stream: str) -> Anchor | None:
        """Return the anchor of the highest record of `stream`; None if it never began."""
        return self.newest_of(stream).last

    def select(self, stream: str, anchors: Sequence[Anchor]) -> StreamAnchors:
        """Select the anchors of `stream` among those that `read` gave."""
        return StreamAnchors.of(stream, anchors, self._slack)

    def close(self) -> None:
        """Write what waits, with one attempt, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._closing = False

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._closing and not self._is_due():
                    self._changed.wait(self._pause())
                closing, due = self._closing, dict(self._waiting)
            written = [self._try(stream, entry) for stream, entry in due.items()]
            with self._changed:
                if closing:
                    return
                if not all(written):
                    self._changed.wait(SECONDS_BETWEEN_ATTEMPTS)

    def _is_due(self) -> bool:
        now = monotonic()
        return any(
            count >= self._records or now - since >= self._seconds
            for _, since, count in self._waiting.values()
        )

    def _pause(self) -> float | None:
        if not self._waiting:
            return None
        oldest = min(since for _, since, _ in self._waiting.values())
        return max(oldest + self._seconds - monotonic(), 0.0)

    def _try(self, stream: str, entry: tuple[Anchor, float, int]) -> bool:
        try:
            self._store_anchor(entry[0])
        except AlphaloopError as error:
            # Told by the next announcement, once it lasts beyond the bound.
            self._failure = error
            return False
        with self._changed:
            self._failure = None
            waiting = self._waiting.pop(stream)
            if waiting[0] != entry[0]:
                self._waiting[stream] = (waiting[0], monotonic(), waiting[2] - entry[2])
        return True

    def _store_anchor(self, anchor: Anchor) -> None:
        """Write one anchor; `ChainBrokenError` where another record of this number is anchored."""
        newest = self._read_newest(anchor.stream)
        if newest is not None and newest.anchor.seq > anchor.seq:
            # Another process that may append to this stream has anchored a later record.
            return
        if newest is None or newest.anchor.seq < anchor.seq:
            before = None if newest is None else (newest.anchor.seq, newest.digest)
            stored = StoredAnchor(anchor, before)
            if self._store.create(stored.name, stored.content, durable=True):
                self._newest[anchor.stream] = stored
                return
        stored = self._read(StoredAnchor(anchor).name)
        if stored.anchor.hash != anchor.hash:
            raise ChainBrokenError(
                f"stream '{anchor.stream}': {self._store.address(stored.name)} anchors another record "
                f"{anchor.seq}; two journals write to these anchors, or the records were forged: run "
                "`alphaloop audit verify`"
            )
        self._newest[anchor.stream] = stored

    def _read_newest(self, stream: str) -> StoredAnchor | None:
        names = self._store.names(anchor_folder(stream), limit=1)
        if not names:
            return None
        known = self._newest.get(stream)
        if known is None or known.name != names[0]:
            known = self._newest[stream] = self._read(names[0])
        return known

    def _read(self, name: str) -> StoredAnchor:
        address = self._store.address(name)
        try:
            return StoredAnchor.parse(name, self._store.read(name))
        except MissingObjectError as error:
            raise DamagedStoreError(f"{address} was removed while it was read") from error
        except ValueError as error:
            raise DamagedStoreError(
                f"{address} is no anchor ({error}); restore it from a copy of the bucket"
            ) from error
