"""Files of secrets that are replaced while they are in use, as mounted ones are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from alphaloop.clock import monotonic
from alphaloop.errors import SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0

Content = TypeVar("Content")


class SecretFile(Generic[Content]):
    """What `read` makes of the file at `path`, and makes anew once another file is there.

    `beside` are files that `read` reads too, such as the key of a certificate. `read` raises `SettingsError`,
    without the secret, for a file that cannot be used. The first one has to be; later `content` stays what it
    was, and the log says so, once for each such file. `changed` is when the content last became another
    (`alphaloop.clock.monotonic`). Threads may share it.
    """

    def __init__(self, path: Path, read: Callable[[Path], Content], beside: Sequence[Path] = ()) -> None:
        self._path, self._read, self._lock = path, read, Lock()
        self._paths = (path, *beside)
        self._seen = self._stamp()
        self.content = read(path)
        self.changed = self._looked = monotonic()

    def current(self) -> Content:
        """The content; whether the file is still the same is looked at once a second at most."""
        if monotonic() - self._looked >= LOOK_SECONDS:
            self.look()
        return self.content

    def look(self) -> None:
        """Read the file if it is another one than was seen last."""
        with self._lock:
            self._looked = monotonic()
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            try:
                content = self._read(self._path)
            except SettingsError as error:
                # Half-written, or away for a moment, or simply wrong.
                log.warning("%s; what was read from it last is used until it can be", error)
                return
            log.info("%s was replaced and has been read again", " or ".join(map(str, self._paths)))
            if content != self.content:
                # In this order: whoever begins before `changed` may have had the content of before.
                self.content = content
                self.changed = monotonic()

    def _stamp(self) -> tuple[tuple[int, ...] | None, ...]:
        """What tells the files that the paths lead to now from others."""
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: Path) -> tuple[int, ...] | None:
    """What tells the file that `path` leads to now from another; None where there is none.

    Links are followed, since Kubernetes swaps a link; a change of rights alone shows in the ctime.
    """
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
