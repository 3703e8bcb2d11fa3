"""Checks of this machine for `alphaloop doctor`, without importing or changing anything."""

from __future__ import annotations

import ctypes.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from alphaloop.errors import PortInUseError
from alphaloop.runtime.processes import require_port
from alphaloop.settings.settings import Settings

GIB = 1024**3
NEEDED_DISK = 2 * GIB
NEEDED_MEMORY = 6 * GIB
NEEDED_CORES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Result of one check: a pass or not, the finding, and the command that fixes it."""

    name: str
    ok: bool
    found: str
    mend: str
    required: bool = True


def examine(settings: Settings) -> list[Check]:
    """Check everything that the loop needs on this machine."""
    return [
        python(),
        *libraries(),
        system_library("gomp", "libgomp1", "LightGBM loads it"),
        program("redis-server", "redis-server", "only for an online store in Redis"),
        program("chromium", "chromium", "only to take pictures of reports"),
        port(settings.serving.host, settings.serving.grpc_port),
        cores(os.cpu_count() or 1),
        memory(),
        disk(settings.paths.home),
    ]


def python(found: tuple[int, int] = sys.version_info[:2]) -> Check:
    """Check that the interpreter is a Python 3.11."""
    return Check(
        name="Python 3.11",
        ok=found == (3, 11),
        found=f"{found[0]}.{found[1]} at {sys.executable}",
        mend="install python3.11 with venv, then: make clean install PYTHON=python3.11",
    )


def libraries(lines: Iterable[str] | None = None, installed: Callable[[str], str] = version) -> list[Check]:
    """Check for each extra of the distribution that all of its libraries are installed."""
    wanted: dict[str, list[str]] = {}
    for line in lines if lines is not None else _requirements():
        name = re.match(r"[A-Za-z0-9._-]+", line)
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        if name and name[0] != "alphaloop":
            wanted.setdefault(extra[1] if extra else "", []).append(name[0])
    return [_extra(extra, names, installed) for extra, names in wanted.items()]


def _requirements() -> list[str]:
    try:
        return requires("alphaloop") or []
    except PackageNotFoundError:
        return ["alphaloop-itself"]


def _extra(extra: str, names: list[str], installed: Callable[[str], str]) -> Check:
    missing = [name for name in names if not _is_installed(name, installed)]
    here = f"{len(names) - len(missing)} of {len(names)} installed"
    place = f".[{extra}]" if extra else "."
    return Check(
        name=f"libraries for {extra}" if extra else "libraries",
        ok=not missing,
        found=f"{here}; missing: {', '.join(missing)}" if missing else here,
        mend=f"make install, or: .venv/bin/pip install -c constraints.txt torch==2.13.0 -e '{place}'",
        required=extra != "dev",
    )


def _is_installed(name: str, installed: Callable[[str], str]) -> bool:
    try:
        installed(name)
    except PackageNotFoundError:
        return False
    return True


def system_library(name: str, package: str, why: str) -> Check:
    """Check for a shared library of the system."""
    found = ctypes.util.find_library(name)
    return Check(
        name=package,
        ok=found is not None,
        found=found or f"not found; {why}",
        mend=f"apt-get install -y {package}",
    )


def program(name: str, package: str, why: str) -> Check:
    """Check for an optional program."""
    found = shutil.which(name)
    return Check(
        name=name,
        ok=found is not None,
        found=found or f"not found; {why}",
        mend=f"apt-get install -y {package}",
        required=False,
    )


def port(host: str, number: int) -> Check:
    """Check that the port of the prediction server is free."""
    try:
        require_port(host, number, "ALPHALOOP_SERVING__GRPC_PORT")
        ok, found = True, f"free on {host}"
    except PortInUseError:
        ok, found = False, f"in use on {host}, by `alphaloop serve` or by another process"
    return Check(
        name=f"port {number}",
        ok=ok,
        found=found,
        mend=f"stop what holds it, or: export ALPHALOOP_SERVING__GRPC_PORT={number + 1000}",
        required=False,
    )


def cores(count: int) -> Check:
    """Check that there are two cores or more."""
    return Check(
        name="cores",
        ok=count >= NEEDED_CORES,
        found=str(count),
        mend=f"give this machine {NEEDED_CORES} cores; with fewer the demo takes longer",
        required=False,
    )


def memory(available: int | None = None) -> Check:
    """Check that there is memory for the demo's servers and training."""
    if available is None:
        import psutil

        available = psutil.virtual_memory().available
    return Check(
        name="memory",
        ok=available >= NEEDED_MEMORY,
        found=f"{available / GIB:.1f} GiB available",
        mend=f"free {NEEDED_MEMORY / GIB:.0f} GiB; the demo's processes take as much at their peak",
    )


def disk(folder: Path, free: int | None = None) -> Check:
    """Check that there is disk space for the workspace."""
    if free is None:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(existing).free
    return Check(
        name="disk",
        ok=free >= NEEDED_DISK,
        found=f"{free / GIB:.1f} GiB free for {folder}",
        mend="free some space, or: export ALPHALOOP_HOME=/a/larger/place",
    )
