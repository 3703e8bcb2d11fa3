"""Location of files of bars: a local folder, or a bucket behind `s3://`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa

from alphaloop.errors import DataError, VendorError
from alphaloop.runtime.credentials import Secret, redact_secrets
from marketdata.files.object_store import SCHEME, open_bucket

# Errors that file systems and readers of files raise.
FILE_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class FileStorage:
    """Files at or below `label`, a path or an `s3://bucket/prefix` as given.

    Nothing is opened, and no credential is read, before the first use. `override` is a pyarrow file system to
    use instead of the one that the address names.
    """

    label: str
    endpoint: str = ""
    region: str = ""
    override: Any = None

    @property
    def filesystem(self) -> Any:
        """The pyarrow file system."""
        return self._opened[0]

    @property
    def root(self) -> str:
        """The path of the address in the file system."""
        if self.remote:
            return self.label.removeprefix(SCHEME).rstrip("/")
        return str(Path(self.label).absolute())

    @property
    def remote(self) -> bool:
        """True if it is an object store."""
        return self.label.startswith(SCHEME)

    def files(self) -> list[str]:
        """Return the path of every file at or below the root, sorted.

        Files and folders with a name that begins with a dot or an underscore are left out: writers use such
        names for unfinished files and markers. `DataError` if there is nothing at the root.
        """
        return [path for path in self.every_file() if not self.is_hidden(path)]

    def is_hidden(self, path: str) -> bool:
        """Return True if a file, or a folder between it and the root, has a marker's name."""
        below = path.removeprefix(self.root).lstrip("/")
        return any(segment.startswith((".", "_")) for segment in below.split("/"))

    def every_file(self) -> list[str]:
        """Return the path of every file at or below the root, hidden ones included, sorted."""
        from pyarrow import fs

        try:
            at_root = self.filesystem.get_file_info(self.root)
            if at_root.type == fs.FileType.Directory:
                entries = self.filesystem.get_file_info(fs.FileSelector(self.root, recursive=True))
            else:
                entries = [at_root] if at_root.type == fs.FileType.File else []
        except FILE_ERRORS as error:
            self.fail(self.label, "listed", error)
        if at_root.type == fs.FileType.NotFound:
            raise DataError(f"{self.label}: there is no such file or folder")
        return sorted(info.path for info in entries if info.type == fs.FileType.File)

    def fail(self, label: str, doing: str, error: Exception) -> NoReturn:
        """Raise `VendorError` where an object store failed, else `DataError`.

        Secrets are removed from `error` too, since it becomes the cause.
        """
        cause = redact_secrets(error, self._opened[1] if "_opened" in self.__dict__ else ())
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{label}: there is no such file") from cause
        line = " ".join(str(cause).split())
        if isinstance(error, OSError) and self.remote:
            raise VendorError(
                f"{label} cannot be {doing} ({line}); check endpoint, credentials and bucket"
            ) from cause
        raise DataError(f"{label}: it cannot be {doing} ({line})") from cause

    @cached_property
    def _opened(self) -> tuple[Any, Sequence[Secret]]:
        from pyarrow import fs

        if self.override is not None:
            return self.override, ()
        if self.remote:
            return open_bucket(self.label, endpoint=self.endpoint, region=self.region)
        return fs.LocalFileSystem(), ()
