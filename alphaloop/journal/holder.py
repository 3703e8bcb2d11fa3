"""Who holds a role: a process, told apart from every other one of this and of other machines."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

PID_NAMESPACE = Path("/proc/self/ns/pid")


def this_process() -> str:
    """Return the name of this process as a holder: `host:pid`, its PID namespace and its start.

    Two containers may have one host name and one process number; namespace and start tell them apart.

    Examples
    --------
    >>> this_process() == this_process()
    True
    """
    # Asked for by number, because a child of a fork is another process.
    return _named(os.getpid())


def is_gone(holder: str) -> bool:
    """Test whether `holder` is a process of this machine and namespace that has ended.

    A holder elsewhere, or a name that is no process's, is never known to be gone.
    """
    try:
        place, number, namespace, started = _parts(holder)
    except ValueError:
        return False
    if (place, namespace) != (socket.gethostname(), _namespace()):
        return False
    return _start_of(number) != started


def short_name(holder: str) -> str:
    """Return what people are shown of a holder: `host:pid`."""
    return holder.partition("#")[0]


@lru_cache(maxsize=4)
def _named(number: int) -> str:
    return f"{socket.gethostname()}:{number}#{_namespace()}.{_start_of(number)}"


def _parts(holder: str) -> tuple[str, int, str, str]:
    shown, _, rest = holder.partition("#")
    place, _, number = shown.rpartition(":")
    namespace, _, started = rest.partition(".")
    if not (place and started):
        raise ValueError(holder)
    return place, int(number), namespace, started


def _namespace() -> str:
    try:
        return str(PID_NAMESPACE.stat().st_ino)
    except OSError:
        return "0"


def _start_of(number: int) -> str:
    """Return when process `number` began, in hundredths of a second; empty if there is none."""
    import psutil

    try:
        return str(round(psutil.Process(number).create_time() * 100))
    except psutil.Error:
        return ""
