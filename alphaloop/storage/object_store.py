"""The interface of a store of objects, and what both of its forms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

from alphaloop.errors import InputError

ATTEMPTS_TO_READ = 3


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing.

    Parameters
    ----------
    name : str
        Name in the store.
    size : int
        Bytes.
    written : datetime
        Time of writing by the store's own clock, aware.
    """

    name: str
    size: int
    written: datetime


class MissingObjectError(InputError, FileNotFoundError):
    """An object that is not in its store, or is not there any more."""


class LateWriteError(InputError):
    """A name under which another process has stored other bytes before."""


class ObjectStore(Protocol):
    """Objects by name; a name may have several segments, joined by `/`.

    Every method raises `InputError` for what the caller can correct (bucket, region, credentials, a full
    disk) and `VendorError` where a server does not answer; the message names the object.
    """

    @property
    def location(self) -> str:
        """Folder or `s3://bucket/prefix`, for messages."""

    @property
    def shared(self) -> bool:
        """True if processes on several machines share the store."""

    def address(self, name: str) -> str:
        """Return the path or URL of an object."""

    def create(self, name: str, content: bytes, *, durable: bool = False) -> bool:
        """Store `content` if `name` is free; return whether it was.

        With `durable` it is on disk when the method returns.
        """

    def create_by(self, name: str, write: Callable[[Path], object], *, durable: bool = False) -> bool:
        """Let `write` fill a temporary file, and store it if `name` is free; return whether it was."""

    def replace(self, name: str, content: bytes) -> None:
        """Store `content` in place of what `name` holds, in one step."""

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; `MissingObjectError` if there is none."""

    def read(self, name: str) -> bytes:
        """Read an object; `MissingObjectError` if there is none."""

    def exists(self, name: str) -> bool:
        """Test whether there is an object of this name."""

    def names(self, prefix: str = "", *, limit: int | None = None) -> list[str]:
        """List the names that begin with `prefix`, in the order of their bytes, at most the first `limit`.

        With a limit, `prefix` is whole segments, and the names have one more.
        """

    def listed(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose names begin with `prefix`, with size and time, in order of name."""

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""


def claim(store: ObjectStore, name: str, content: bytes) -> bool:
    """Store `content` under a derived name, or find that this very content is there.

    A write whose answer was lost is repeated safely: equal bytes are the caller's own.

    Parameters
    ----------
    store : ObjectStore
        The store.
    name : str
        Name that is derived from what is stored.
    content : bytes
        Bytes of the object.

    Returns
    -------
    bool
        True if they were stored by this call, False if they were there.

    Raises
    ------
    LateWriteError
        Where other bytes are stored under `name`.
    """
    for _ in range(ATTEMPTS_TO_READ):
        if store.create(name, content):
            return True
        try:
            if store.read(name) == content:
                return False
        except MissingObjectError:
            # Removed between the two requests.
            continue
        break
    raise LateWriteError(
        f"{store.address(name)} was stored by another process before, with other content; this process is "
        "late: start it again, so that it goes on from what is stored now"
    )


def missing(address: str) -> MissingObjectError:
    """Build the error for an object that is not there."""
    return MissingObjectError(f"{address} does not exist")


def first_names(names: Sequence[str], limit: int | None) -> list[str]:
    """Return at most `limit` of `names`, in the order of their bytes."""
    return sorted(names, key=lambda name: name.encode())[:limit]
