"""Objects as files of a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from alphaloop.runtime.atomic_file import PARTIAL_SUFFIX, create_file, replace_file
from alphaloop.storage.object_store import StoredObject, first_names, missing


class FolderStore:
    """Files at and below `folder`, which need not exist yet.

    A file appears whole or not at all. Files whose name begins with a dot are not objects.

    Parameters
    ----------
    folder : Path
        The folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     store = FolderStore(Path(folder))
    ...     store.create("a/1", b"one"), store.create("a/1", b"two"), store.read("a/1"), store.names("a/")
    (True, False, b'one', ['a/1'])
    """

    shared = False

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    @property
    def location(self) -> str:
        """Path of the folder."""
        return str(self.folder)

    def address(self, name: str) -> str:
        """Return the path of an object."""
        return str(self.folder / name)

    def create(self, name: str, content: bytes, *, durable: bool = False) -> bool:
        """Store `content` if `name` is free; return whether it was."""
        return create_file(self.folder / name, lambda partial: partial.write_bytes(content), durable=durable)

    def create_by(self, name: str, write: Callable[[Path], object], *, durable: bool = False) -> bool:
        """Let `write` fill a temporary file, and store it if `name` is free; return whether it was."""
        return create_file(self.folder / name, write, durable=durable)

    def replace(self, name: str, content: bytes) -> None:
        """Store `content` in place of what `name` holds, in one step."""
        replace_file(self.folder / name, lambda partial: partial.write_bytes(content))

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading."""
        try:
            return (self.folder / name).open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise missing(self.address(name)) from error

    def read(self, name: str) -> bytes:
        """Read an object."""
        with self.open(name) as file:
            return file.read()

    def exists(self, name: str) -> bool:
        """Test whether there is a file of this name."""
        return (self.folder / name).is_file()

    def names(self, prefix: str = "", *, limit: int | None = None) -> list[str]:
        """List the names that begin with `prefix`, in the order of their bytes, at most `limit`."""
        return first_names([name for name, _ in self._below(prefix)], limit)

    def listed(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose names begin with `prefix`, with size and time, in order of name."""
        found = {}
        for name, entry in self._below(prefix):
            # A file may be removed while the folder is listed.
            with suppress(FileNotFoundError):
                stat = entry.stat()
                written = datetime.fromtimestamp(stat.st_mtime, UTC)
                found[name] = StoredObject(name, stat.st_size, written)
        return [found[name] for name in first_names(list(found), None)]

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        with suppress(NotADirectoryError):
            (self.folder / name).unlink(missing_ok=True)

    def delete_abandoned(self, before: datetime) -> None:
        """Remove unfinished files that were last written to before a time: their writers were killed."""
        for path in self.folder.rglob(f".*{PARTIAL_SUFFIX}"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def _below(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Yield name and directory entry of each file whose name begins with `prefix`."""
        above = prefix.rpartition("/")[0]
        waiting = [above]
        while waiting:
            inner = waiting.pop()
            try:
                entries = os.scandir(self.folder / inner)
            except (FileNotFoundError, NotADirectoryError):
                continue
            with entries:
                for entry in entries:
                    name = f"{inner}/{entry.name}" if inner else entry.name
                    if entry.name.startswith(".") or not (name.startswith(prefix) or prefix.startswith(name)):
                        continue
                    if entry.is_dir():
                        waiting.append(name)
                    elif name.startswith(prefix):
                        yield name, entry
