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
MIN_DISK_BYTES = 2 * GIB
MIN_MEMORY_BYTES = 6 * GIB
MIN_CORES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineCheck:
    """Result of one check: a pass or not, the finding, and the command that fixes it."""

    name: str
    ok: bool
    found: str
    mend: str
    required: bool = True


def check_machine(settings: Settings) -> list[MachineCheck]:
    """Check everything that the loop needs on this machine."""
    return [
        check_python(),
        *check_libraries(),
        check_system_library("gomp", "libgomp1", "LightGBM loads it"),
        check_program("redis-server", "redis-server", "only for an online store in Redis"),
        check_program("chromium", "chromium", "only to take pictures of reports"),
        check_port(settings.serving.host, settings.serving.grpc_port),
        check_cores(os.cpu_count() or 1),
        check_memory(),
        check_disk(settings.paths.home),
    ]


def check_python(found: tuple[int, int] = sys.version_info[:2]) -> MachineCheck:
    """Check that the interpreter is a Python 3.11."""
    return MachineCheck(
        name="Python 3.11",
        ok=found == (3, 11),
        found=f"{found[0]}.{found[1]} at {sys.executable}",
        mend="install python3.11 with venv, then: make clean install PYTHON=python3.11",
    )


def check_libraries(
    lines: Iterable[str] | None = None, installed: Callable[[str], str] = version
) -> list[MachineCheck]:
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


def _extra(extra: str, names: list[str], installed: Callable[[str], str]) -> MachineCheck:
    missing = [name for name in names if not _is_installed(name, installed)]
    here = f"{len(names) - len(missing)} of {len(names)} installed"
    place = f".[{extra}]" if extra else "."
    return MachineCheck(
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


def check_system_library(name: str, package: str, why: str) -> MachineCheck:
    """Check for a shared library of the system."""
    found = ctypes.util.find_library(name)
    return MachineCheck(
        name=package,
        ok=found is not None,
        found=found or f"not found; {why}",
        mend=f"apt-get install -y {package}",
    )


def check_program(name: str, package: str, why: str) -> MachineCheck:
    """Check for an optional program."""
    found = shutil.which(name)
    return MachineCheck(
        name=name,
        ok=found is not None,
        found=found or f"not found; {why}",
        mend=f"apt-get install -y {package}",
        required=False,
    )


def check_port(host: str, number: int) -> MachineCheck:
    """Check that the port of the prediction server is free."""
    try:
        require_port(host, number, "ALPHALOOP_SERVING__GRPC_PORT")
        ok, found = True, f"free on {host}"
    except PortInUseError:
        ok, found = False, f"in use on {host}, by `alphaloop serve` or by another process"
    return MachineCheck(
        name=f"port {number}",
        ok=ok,
        found=found,
        mend=f"stop what holds it, or: export ALPHALOOP_SERVING__GRPC_PORT={number + 1000}",
        required=False,
    )


def check_cores(count: int) -> MachineCheck:
    """Check that there are two cores or more."""
    return MachineCheck(
        name="cores",
        ok=count >= MIN_CORES,
        found=str(count),
        mend=f"give this machine {MIN_CORES} cores; with fewer the demo takes longer",
        required=False,
    )


def check_memory(available: int | None = None) -> MachineCheck:
    """Check that there is memory for the demo's servers and training."""
    if available is None:
        import psutil

        available = psutil.virtual_memory().available
    return MachineCheck(
        name="memory",
        ok=available >= MIN_MEMORY_BYTES,
        found=f"{available / GIB:.1f} GiB available",
        mend=f"free {MIN_MEMORY_BYTES / GIB:.0f} GiB; the demo's processes take as much at their peak",
    )


def check_disk(folder: Path, free: int | None = None) -> MachineCheck:
    """Check that there is disk space for the workspace."""
    if free is None:
        existing = next(place for place in (folder, *folder.parents) if place.exists())
        free = shutil.disk_usage(existing).free
    return MachineCheck(
        name="disk",
        ok=free >= MIN_DISK_BYTES,
        found=f"{free / GIB:.1f} GiB free for {folder}",
        mend="free some space, or: export ALPHALOOP_HOME=/a/larger/place",
    )
