"""Exclusive locks on files, among all threads and processes of one machine.

The kernel releases a lock when its holder dies, so a killed process leaves nothing to clean up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock_descriptor(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file until it is closed; False where another holds the lock and `wait` is false."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def exclusive_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock on `path`, which is created with its folder, for the block.

    Yields True. With `wait` false, it yields False where another holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        yield lock_descriptor(descriptor, wait=wait)
    finally:
        os.close(descriptor)
