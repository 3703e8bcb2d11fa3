"""Files that are either complete or not there at all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

from alphaloop.errors import InputError

# Errors of a file system that has no hard links.
_WITHOUT_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
PARTIAL_SUFFIX = ".partial"
"""Suffix of a file that is still being written."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path` in one step.

    The folder is created. Raises `InputError` where writing fails, as on a full disk: the file at `path` is
    unchanged then, and nothing half-written is left.
    """
    with _partial_file(path, write) as partial:
        os.replace(partial, path)


def create_file(path: Path, write: Callable[[Path], object], *, durable: bool = False) -> bool:
    """Let `write` fill a temporary file that becomes `path` in one step, if there is no file yet.

    Parameters
    ----------
    path : Path
        The file; its folder is created.
    write : callable
        Writes to the path that it is given.
    durable : bool
        Sync the file and its folder to disk before returning.

    Returns
    -------
    bool
        False if there was a file, which is unchanged then.

    Raises
    ------
    InputError
        Where writing fails, as on a full disk; nothing half-written is left.
    """
    if path.exists():
        return False
    with _partial_file(path, write) as partial:
        if durable:
            _sync(partial)
        try:
            # Unlike a rename, a link fails where the name is taken.
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _WITHOUT_LINKS:
                raise
            os.rename(partial, path)
        if durable:
            _sync(path.parent)
    return True


@contextmanager
def _partial_file(path: Path, write: Callable[[Path], object]) -> Iterator[Path]:
    """Let `write` fill a temporary file beside `path` for a block; it is removed where the block leaves it.

    Raises `InputError` where the writing, or the block, fails.
    """
    partial = path.with_name(f".{path.name[:24]}.{os.getpid()}-{threading.get_ident()}{PARTIAL_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        yield partial
    except (OSError, pa.ArrowException) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
        raise InputError(
            f"{path} cannot be written ({reason}); nothing was stored: make room there, or choose another "
            "place with the setting home"
        ) from error
    finally:
        # The file is gone after the move, and never existed where its folder is a file.
        with suppress(NotADirectoryError):
            partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
