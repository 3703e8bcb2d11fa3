"""Space of the prediction log on disk: how many bytes it has, of how many it may have.

Rows of inputs that clients sent themselves may take half of it, so that nobody can push the rows that
evidence and drift are read from out of the log. What exceeds the whole goes oldest first.
"""

from __future__ import annotations

import os
from pathlib import Path

SUFFIX = ".parquet"
# Of the limit, what is left after old files are removed: not to remove one with each that is written.
SHRUNK = 0.9


class LogSpace:
    """The space of the log in `folder`: at most `most_bytes`; 0 sets no limit.

    `used` is what was measured last and was written here since. Other writers are seen when it is measured.
    """

    def __init__(self, folder: Path, most_bytes: int = 0) -> None:
        self._folder, self._most_bytes = Path(folder), most_bytes
        self.used = 0

    @property
    def holds_sent(self) -> bool:
        """True while rows of inputs that clients sent may still be written."""
        return not self._most_bytes or self.used < self._most_bytes / 2

    @property
    def exceeded(self) -> bool:
        """True if old files have to go."""
        return bool(self._most_bytes) and self.used > self._most_bytes

    def add(self, written: int) -> None:
        """Count a file of `written` bytes."""
        self.used += written

    def measure(self) -> None:
        """Count what is there."""
        self.used = sum(size for _, size, _ in self._files())

    def shrink(self) -> int:
        """Remove the oldest files until the rest fits, the newest never; how many were removed."""
        files = sorted(self._files())
        self.used = sum(size for _, size, _ in files)
        removed = 0
        if self.exceeded:
            for _, size, path in files[:-1]:
                if self.used <= SHRUNK * self._most_bytes:
                    break
                path.unlink(missing_ok=True)
                self.used -= size
                removed += 1
        return removed

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each file was written, its size and its place."""
        found = []
        for folder in self._folder.glob("model=*"):
            for entry in os.scandir(folder):
                if entry.name.endswith(SUFFIX):
                    try:
                        told = entry.stat()
                    except FileNotFoundError:
                        # Merged into another meanwhile.
                        continue
                    found.append((told.st_mtime, told.st_size, Path(entry.path)))
        return found
