"""Writer leases: the exclusive right to write, held by a lock on a file.

The kernel releases the lock when its holder dies, so a killed process leaves nothing to clean up.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from alphaloop.errors import InputError, LeaseLostError
from alphaloop.runtime.file_lock import lock_descriptor


class LeaseHeldError(InputError):
    """Another process holds the lease."""


class WriterLease(Protocol):
    """Exclusive right to write, by a lock on a file or in the store itself."""

    @property
    def held(self) -> bool:
        """True if the lease has not been closed."""
        ...

    @property
    def lost(self) -> bool:
        """True if the lease was taken away, as far as this process knows."""
        ...

    def require(self) -> None:
        """Check the lease and raise `LeaseLostError` if it was taken away."""
        ...

    def close(self) -> None:
        """Release the lease; may be repeated."""
        ...


class FileLease:
    """Exclusive right by a lock on a file, held from construction until `close`.

    Raises `LeaseHeldError`, which names the process that holds it already.
    """

    def __init__(self, path: Path, what: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if not lock_descriptor(descriptor, wait=False):
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise LeaseHeldError(
                f"{what} is already held by process {holder} ({path}); stop that process first"
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor: int | None = descriptor

    @property
    def held(self) -> bool:
        """True if the lease has not been closed."""
        return self._descriptor is not None

    @property
    def lost(self) -> bool:
        """True if the lock file was removed, so that another process can lock a new one."""
        return self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0

    def require(self) -> None:
        """Raise `LeaseLostError` if the lock file was removed."""
        if self.lost:
            raise LeaseLostError(f"the file of this lease was removed ({self._path}); close it")

    def close(self) -> None:
        """Release the lease; may be repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
