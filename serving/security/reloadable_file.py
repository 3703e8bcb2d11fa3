"""Files that are read again when replaced, such as mounted secrets and certificates."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from alphaloop.clock import monotonic
from alphaloop.errors import SettingsError

log = logging.getLogger(__name__)

CHECK_SECONDS = 1.0

Content = TypeVar("Content")


class ReloadableFile(Generic[Content]):
    """Parsed content of the file at `path`, reloaded when the file is replaced. Thread-safe.

    `read` parses the file and raises `SettingsError`, without the secret, for a file that cannot be used. The
    first read must succeed; after a failed reload `content` stays as it was, and the log says so, once for
    each such file. `also_read` are further files that `read` reads, such as the key of a certificate.
    `changed_at` is the time of the last new content (`alphaloop.clock.monotonic`).
    """

    def __init__(self, path: Path, read: Callable[[Path], Content], also_read: Sequence[Path] = ()) -> None:
        self._path, self._read, self._lock = path, read, Lock()
        self._paths = (path, *also_read)
        self._seen = self._stamp()
        self.content = read(path)
        self.changed_at = self._looked = monotonic()

    def current(self) -> Content:
        """Return the content; checks the file at most once a second."""
        if monotonic() - self._looked >= CHECK_SECONDS:
            self.reload_if_replaced()
        return self.content

    def reload_if_replaced(self) -> None:
        """Read the file again if it has been replaced since the last look."""
        with self._lock:
            self._looked = monotonic()
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            try:
                content = self._read(self._path)
            except SettingsError as error:
                # Half-written, away for a moment, or simply wrong.
                log.warning("%s; what was read from it last is used until it can be", error)
                return
            log.info("%s was replaced and has been read again", " or ".join(map(str, self._paths)))
            if content != self.content:
                # In this order: a call that began before `changed_at` may have had the earlier content.
                self.content = content
                self.changed_at = monotonic()

    def _stamp(self) -> tuple[tuple[int, ...] | None, ...]:
        """Return the identity of the files that the paths lead to now."""
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return the identity of the file that `path` leads to now.

    None if there is no file. Links are followed, since Kubernetes swaps a link; a change of permissions alone
    shows in the ctime.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
