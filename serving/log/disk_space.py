"""Disk space of the prediction log: bytes used, and their limit.

Rows of inputs from clients may take half of the limit, so that no client can push out the rows that evidence
and drift are computed from. Beyond the limit the oldest files are removed.
"""

from __future__ import annotations

import os
from pathlib import Path

SUFFIX = ".parquet"
# Share of the limit that remains after old files are removed, so that not every new file removes one.
SHRINK_TARGET = 0.9


class LogSpace:
    """Disk space of the log in `folder`: at most `max_bytes`; 0 sets no limit.

    `used` is the last measurement plus the bytes written here since; files of other writers are included when
    it is measured.
    """

    def __init__(self, folder: Path, max_bytes: int = 0) -> None:
        self._folder, self._max_bytes = Path(folder), max_bytes
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
        """Count the bytes of all files on disk."""
        self.used = sum(size for _, size, _ in self._files())

    def shrink(self) -> int:
        """Remove the oldest files until the rest fits, never the newest; return the number removed."""
        files = sorted(self._files())
        self.used = sum(size for _, size, _ in files)
        removed = 0
        if self.exceeded:
            for _, size, path in files[:-1]:
                if self.used <= SHRINK_TARGET * self._max_bytes:
                    break
                path.unlink(missing_ok=True)
                self.used -= size
                removed += 1
        return removed

    def _files(self) -> list[tuple[float, int, Path]]:
        """Return time of writing, size and path of each file."""
        files = []
        for folder in self._folder.glob("model=*"):
            for entry in os.scandir(folder):
                if entry.name.endswith(SUFFIX):
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        # Merged into another file meanwhile.
                        continue
                    files.append((stat.st_mtime, stat.st_size, Path(entry.path)))
        return files
