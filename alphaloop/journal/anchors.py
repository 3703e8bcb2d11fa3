"""Anchors: the heads of the chains, kept outside the database.

Without them a whole chain could be rewritten and its hashes computed anew. The file has one JSON line
a batch, `{"hash": …, "seq": …, "stream": …}`; it is only ever appended to.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path

from alphaloop.errors import DamagedStoreError


@dataclass(frozen=True, slots=True)
class Anchor:
    """That record `seq` of `stream` had `hash` when it was written. `seq` 0 says that the stream began."""

    stream: str
    seq: int
    hash: str


class AnchorFile:
    """The anchors in one file, shared by every stream of a journal and by several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, anchor: Anchor) -> None:
        """Add one line in one write; a line that a crash left unfinished is cut off first."""
        line = json.dumps({"stream": anchor.stream, "seq": anchor.seq, "hash": anchor.hash}, sort_keys=True)
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            _cut_unfinished_line(handle)
            os.write(handle, line.encode("ascii") + b"\n")
        finally:
            os.close(handle)

    def read(self) -> list[Anchor]:
        """Every anchor, in the order written; raises `DamagedStoreError` naming the line that is none.

        A last line without its end is not read: its batch is in the database, only not anchored.
        """
        if not self.path.exists():
            return []
        lines = self.path.read_bytes().split(b"\n")[:-1]
        return [self._parse(number, line) for number, line in enumerate(lines, start=1)]

    def last(self, stream: str) -> Anchor | None:
        """The anchor of the highest record of `stream`, or `None` for a stream that never began."""
        mine = [anchor for anchor in self.read() if anchor.stream == stream]
        return max(mine, key=lambda anchor: anchor.seq, default=None)

    def _parse(self, number: int, line: bytes) -> Anchor:
        problem = f"{self.path}, line {number} is not an anchor: {line[:80]!r}"
        try:
            fields = json.loads(line)
            stream, seq, digest = fields["stream"], fields["seq"], fields["hash"]
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedStoreError(problem) from error
        if not (isinstance(stream, str) and isinstance(seq, int) and isinstance(digest, str)):
            raise DamagedStoreError(problem)
        return Anchor(stream, seq, digest)


def _cut_unfinished_line(handle: int) -> None:
    size = os.fstat(handle).st_size
    if size == 0 or os.pread(handle, 1, size - 1) == b"\n":
        return
    end = os.pread(handle, size, 0).rfind(b"\n") + 1
    os.ftruncate(handle, end)
