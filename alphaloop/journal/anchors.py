"""Anchors: the heads of the hash chains, stored outside the database.

Without anchors a whole chain could be rewritten with new hashes. The file has one JSON line per anchor,
`{"hash": …, "seq": …, "stream": …}`, and is only appended to. Each batch has two lines: the line with
`"announced": true` is on disk before the batch is committed, and the other line follows the commit. So the
head of a chain is always one that its own writer announced: a record beyond the last anchor that was never
announced was not written by a writer of this journal, and an announced batch that is missing was never
committed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from alphaloop.errors import DamagedStoreError
from alphaloop.runtime.file_lock import lock_descriptor

BLOCK_BYTES = 4096
"""Bytes of the file that are read at a time, from its end on."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The statement that record `seq` of `stream` has `hash`.

    `seq` 0 marks the start of the stream. An anchor with `announced` permits the record, which may also be
    missing. Any other anchor requires it. `token` is the fencing token under which the record was written;
    a file of anchors does not keep it.
    """

    stream: str
    seq: int
    hash: str
    announced: bool = False
    token: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class AnchorSlack:
    """How many records may be unanchored because their writer was killed before it could anchor them.

    Parameters
    ----------
    records : int
        So many may be unanchored, whatever their times.
    seconds : float
        More may be where they were written within this time.
    """

    records: int
    seconds: float

    def covers(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Test whether the rows after the last anchor are within what a killed writer leaves."""
        if len(rows) <= self.records:
            return True
        first, last = (datetime.fromisoformat(row["at"]) for row in (rows[0], rows[-1]))
        return (last - first).total_seconds() <= self.seconds


@dataclass(frozen=True, slots=True)
class StreamAnchors:
    """The anchors of one stream: required records, and heads announced after the last of them."""

    required: tuple[Anchor, ...] = ()
    announced: frozenset[tuple[int, str]] = field(default_factory=frozenset)
    slack: AnchorSlack | None = None

    @classmethod
    def of(cls, stream: str, anchors: Iterable[Anchor], slack: AnchorSlack | None = None) -> StreamAnchors:
        """Select the anchors of `stream`."""
        own_anchors = [anchor for anchor in anchors if anchor.stream == stream]
        required = tuple(sorted((one for one in own_anchors if not one.announced), key=lambda one: one.seq))
        last = required[-1].seq if required else 0
        later = frozenset((one.seq, one.hash) for one in own_anchors if one.announced and one.seq > last)
        return cls(required, later, slack)

    @property
    def last(self) -> Anchor | None:
        """The anchor of the highest required record; None for a stream that never began."""
        return self.required[-1] if self.required else None

    def permits(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        """Test whether a chain may end with `rows`, those after the last anchor.

        The last of them is announced by its writer, or they are few and recent enough for anchors that
        follow their records.
        """
        if not rows:
            return True
        if self.last is None:
            return False
        return (rows[-1]["seq"], rows[-1]["hash"]) in self.announced or (
            self.slack is not None and self.slack.covers(rows)
        )


class AnchorLog(Protocol):
    """Anchors of all streams of a journal, in a file or in a bucket."""

    @property
    def location(self) -> str:
        """Path or URL, for messages."""

    @property
    def unanchored_seconds(self) -> float:
        """Seconds since the oldest head that is not anchored yet; 0 where all are."""

    def announce(self, stream: str, seq: int, digest: str) -> None:
        """Write the head of a batch to disk before its commit; `OSError` where that fails."""

    def append(self, anchor: Anchor) -> None:
        """Add the anchor of a committed batch; `OSError` where that fails."""

    def read(self) -> list[Anchor]:
        """Read every anchor; `DamagedStoreError` where one is none, or is gone."""

    def newest_of(self, stream: str) -> StreamAnchors:
        """Read the anchors that say how `stream` may end."""

    def select(self, stream: str, anchors: Sequence[Anchor]) -> StreamAnchors:
        """Select the anchors of `stream` among those that `read` gave."""

    def last(self, stream: str) -> Anchor | None:
        """Return the anchor of the highest record of `stream`; None if it never began."""

    def close(self) -> None:
        """Write what waits to be written."""


class AnchorFile:
    """A file of anchors, shared by all streams of a journal and by several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def location(self) -> str:
        """Path of the file."""
        return str(self.path)

    @property
    def unanchored_seconds(self) -> float:
        """Always 0: an anchor is written with its record."""
        return 0.0

    def announce(self, stream: str, seq: int, digest: str) -> None:
        """Write the head of a batch to disk before its commit.

        Raises `OSError` where the file cannot be written.
        """
        self._write({"announced": True, "hash": digest, "seq": seq, "stream": stream}, durable=True)

    def append(self, anchor: Anchor) -> None:
        """Add the anchor of a committed batch.

        The line needs no sync of its own: if the machine fails, the announcement is already on disk. Raises
        `OSError` where the file cannot be written.
        """
        self._write({"hash": anchor.hash, "seq": anchor.seq, "stream": anchor.stream}, durable=False)

    def read(self) -> list[Anchor]:
        """Read every anchor, in the order written.

        An incomplete last line is not read: a crash left it so, and no batch was committed on it. Raises
        `DamagedStoreError` that names the first line without an anchor.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        return [self._parse(number, line) for number, line in enumerate(lines, start=1)]

    def of(self, stream: str) -> StreamAnchors:
        """Read the anchors of `stream`; errors are those of `read`."""
        return StreamAnchors.of(stream, self.read())

    def newest_of(self, stream: str) -> StreamAnchors:
        """Read from the end of the file the anchors that say how `stream` may end.

        They are its last required record and what was announced after it. A record is announced before it
        is required, and whatever follows it later still: so nothing before its announcement is read. Raises
        `DamagedStoreError` as `read` does, for a line that it comes by.
        """
        name = json.dumps(stream).encode("ascii")
        found: list[Anchor] = []
        announced: set[int] = set()
        last = 0
        for line in self._lines_from_the_end():
            # Lines of other streams are not parsed: verification reads all of them.
            if name not in line and line.endswith(b"}"):
                continue
            try:
                anchor = self._parse(0, line)
            except DamagedStoreError:
                return self.of(stream)  # names the line by its number
            if anchor.stream != stream:
                continue
            found.append(anchor)
            if anchor.announced:
                announced.add(anchor.seq)
            else:
                last = max(last, anchor.seq)
            if last in announced:
                break
        anchors = StreamAnchors.of(stream, found)
        return StreamAnchors(anchors.required[-1:], anchors.announced)

    def select(self, stream: str, anchors: Sequence[Anchor]) -> StreamAnchors:
        """Select the anchors of `stream` among those that `read` gave."""
        return StreamAnchors.of(stream, anchors)

    def last(self, stream: str) -> Anchor | None:
        """Return the anchor of the highest record of `stream`; None if it never began."""
        return self.newest_of(stream).last

    def _lines_from_the_end(self) -> Iterator[bytes]:
        """Read the finished lines, the last one first, in blocks and only as far as they are asked for."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            start, rest, is_unfinished = os.fstat(handle).st_size, b"", True
            while start > 0:
                size = min(BLOCK_BYTES, start)
                start -= size
                *lines, tail = (os.pread(handle, size, start) + rest).split(b"\n")
                if not lines:
                    rest = tail
                    continue
                rest = lines.pop(0)
                # What follows the last end of a line is a line that is being written, or was left by a crash.
                if not is_unfinished:
                    yield tail
                is_unfinished = False
                yield from reversed(lines)
            if not is_unfinished:
                yield rest
        finally:
            os.close(handle)

    def cut_back(self, to: Mapping[str, int], kept: Path) -> None:
        """Keep the file as `kept`, and leave of each stream the anchors up to its record in `to`.

        For a restored copy that is older than the anchors. Raises `OSError` where a file cannot be written.
        """
        left = [one for one in self.path.read_bytes().splitlines(keepends=True) if _is_within(one, to)]
        kept.write_bytes(self.path.read_bytes())
        new = self.path.with_name(f"{self.path.name}.new")
        new.write_bytes(b"".join(left))
        os.replace(new, self.path)

    def close(self) -> None:
        """Nothing waits: every line is written at once."""

    def _write(self, fields: dict[str, object], *, durable: bool) -> None:
        """Append one line in a single write.

        An incomplete line that a crash left is removed first.
        """
        line = json.dumps(fields, sort_keys=True).encode("ascii") + b"\n"
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            lock_descriptor(handle, wait=True)
            _cut_unfinished_line(handle)
            if os.write(handle, line) != len(line):
                _cut_unfinished_line(handle)
                raise OSError(f"no room for another line in {self.path}")
            if durable:
                os.fdatasync(handle)
        finally:
            os.close(handle)

    def _parse(self, number: int, line: bytes) -> Anchor:
        problem = f"{self.path}, line {number} is not an anchor: {line[:80]!r}"
        try:
            fields = json.loads(line)
            stream, seq, digest = fields["stream"], fields["seq"], fields["hash"]
            announced = fields.get("announced", False)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedStoreError(problem) from error
        right = isinstance(stream, str) and isinstance(seq, int) and isinstance(digest, str)
        if not (right and isinstance(announced, bool)):
            raise DamagedStoreError(problem)
        return Anchor(stream, seq, digest, announced)


def _is_within(line: bytes, to: Mapping[str, int]) -> bool:
    fields = json.loads(line) if line.endswith(b"\n") else None
    return fields is not None and fields["seq"] <= to.get(fields["stream"], 0)


def _cut_unfinished_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
        return
    end = os.pread(handle, size, 0).rfind(b"\n") + 1
    os.ftruncate(handle, end)
