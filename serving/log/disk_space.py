"""Space of the prediction log: bytes used, and their limit.

Rows of inputs from clients may take half of the limit, so that no client can push out the rows that evidence
and drift are computed from. Beyond the limit the oldest files are removed.
"""

from __future__ import annotations

from pathlib import Path

from alphaloop.storage.object_store import StoredObject
from alphaloop.storage.opening import open_store

SUFFIX = ".parquet"
# Share of the limit that remains after old files are removed, so that not every new file removes one.
SHRINK_TARGET = 0.9


class LogSpace:
    """Space of the log at `location`, a folder or `s3://bucket/prefix`: at most `max_bytes`; 0 sets no limit.

    `used` is the last measurement plus the bytes written here since; files of other writers are included when
    it is measured.
    """

    def __init__(self, location: str | Path, max_bytes: int = 0) -> None:
        self._store, self._max_bytes = open_store(location), max_bytes
        self.used = 0

    @property
    def accepts_client_rows(self) -> bool:
        """True while rows of inputs that clients sent may still be written."""
        return not self._max_bytes or self.used < self._max_bytes / 2

    @property
    def exceeded(self) -> bool:
        """True if old files have to be removed."""
        return bool(self._max_bytes) and self.used > self._max_bytes

    def add(self, written: int) -> None:
        """Count a file of `written` bytes."""
        self.used += written

    def measure(self) -> None:
        """Count the bytes of all files."""
        self.used = sum(file.size for file in self._files())

    def shrink(self) -> int:
        """Remove the oldest files until the rest fits, never the newest; return the number removed."""
        files = self._files()
        self.used = sum(file.size for file in files)
        removed = 0
        if self.exceeded:
            for file in files[:-1]:
                if self.used <= SHRINK_TARGET * self._max_bytes:
                    break
                self._store.delete(file.name)
                self.used -= file.size
                removed += 1
        return removed

    def _files(self) -> list[StoredObject]:
        """Return the files of every model, the oldest first."""
        files = [one for one in self._store.listed("model=") if one.name.endswith(SUFFIX)]
        return sorted(files, key=lambda file: (file.written, file.size))
