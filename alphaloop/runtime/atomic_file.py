"""Files that are either complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from alphaloop.errors import InputError

PARTIAL_SUFFIX = ".partial"
"""Suffix of a file that is still being written."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path` in one step.

    The folder is created. Raises `InputError` where writing fails, as on a full disk: the file at `path` is
    unchanged then, and nothing half-written is left.
    """
    partial = path.with_name(f".{path.name[:24]}.{os.getpid()}{PARTIAL_SUFFIX}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        os.replace(partial, path)
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
