"""Files that are there whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from alphaloop.errors import InputError

PARTIAL = ".partial"


def replace_with(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it there in one step; its folder is made.

    `InputError` where that fails, as on a full disk: what was at `path` is as it was, and nothing
    half-written is left.
    """
    partial = path.with_name(f".{path.name[:24]}.{os.getpid()}{PARTIAL}")
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
        # After the move there is nothing under this name; nor is there where its folder is a file.
        with suppress(NotADirectoryError):
            partial.unlink(missing_ok=True)
