"""Names of processes that hold roles, unique over machines, restarts and containers."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path

PROC = Path("/proc")
BOOT_ID = PROC / "sys/kernel/random/boot_id"
PID_NAMESPACE = PROC / "self/ns/pid"

START_FIELD = 22
"""Field of `/proc/PID/stat` that holds the start, in clock ticks since the machine's start."""


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

    A holder elsewhere, of an earlier start of the machine, or whose name is no process's, is never known to
    be gone: two machines may have one name. Nor is any where there is no `/proc`.
    """
    try:
        place, number, namespace, started = _parts(holder)
    except ValueError:
        return False
    boot, _, ticks = started.partition("/")
    if not (boot and ticks) or (place, namespace, boot) != (socket.gethostname(), _namespace(), _boot()):
        return False
    found = _ticks(number)
    return found != ticks if found else not _exists(number)


def short_name(holder: str) -> str:
    """Return what people are shown of a holder: `host:pid`."""
    return holder.partition("#")[0]


@lru_cache(maxsize=4)
def _named(number: int) -> str:
    return f"{socket.gethostname()}:{number}#{_namespace()}.{_boot()}/{_ticks(number)}"


def _parts(holder: str) -> tuple[str, int, str, str]:
    shown, _, rest = holder.partition("#")
    place, _, number = shown.rpartition(":")
    namespace, _, started = rest.partition(".")
    if not (place and started and number.isdecimal() and int(number) > 0):
        raise ValueError(holder)
    return place, int(number), namespace, started


def _namespace() -> str:
    try:
        return str(PID_NAMESPACE.stat().st_ino)
    except OSError:
        return "0"


def _boot() -> str:
    """Return the name that the kernel gave to this start of the machine; empty where it gives none."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _ticks(number: int) -> str:
    """Return when process `number` began, which no step of the wall clock changes; empty if unknown."""
    try:
        line = (PROC / str(number) / "stat").read_bytes()
    except OSError:
        return ""
    # The second field is the program's name in parentheses, which may hold spaces and parentheses itself.
    fields = line[line.rindex(b")") + 1 :].split()
    return fields[START_FIELD - 3].decode("ascii")


def _exists(number: int) -> bool:
    """Test for a process, also for one of another user that `/proc` hides."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
