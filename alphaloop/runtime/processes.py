"""Child processes and ports: start children, find free ports, and leave no child behind."""

from __future__ import annotations

import errno
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping
from random import SystemRandom

import psutil

from alphaloop.errors import InputError, PortInUseError

QUIET_ENVIRONMENT = {
    "PYTHONSAFEPATH": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "FEAST_USAGE": "False",
    # ONNX Runtime reads it once, at import, and has no other switch that stops its queue of events.
    "ORT_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONWARNINGS": "ignore",
}
"""Environment variables of children: no shadowing by the working folder, no vendor telemetry."""
PORTS = range(20_000, 32_768)
"""Ports that `free_port` draws from.

They lie above the ports of Ray's workers and below the kernel's ephemeral ports, from which an outgoing
connection would take a free port before it is used.
"""
SINGLE_THREAD_ENVIRONMENT = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
"""Environment variables that limit numerical libraries to one thread."""
_given_out: deque[int] = deque(maxlen=1_000)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: ours, `QUIET_ENVIRONMENT` and `extra`."""
    return {**os.environ, **QUIET_ENVIRONMENT, **(extra or {})}


def silence_telemetry(*names: str) -> None:
    """Set these variables of `QUIET_ENVIRONMENT` in this process, unless the caller has set them.

    Call it before the vendor's library is imported.
    """
    for name in names:
        os.environ.setdefault(name, QUIET_ENVIRONMENT[name])


def free_port(host: str = "127.0.0.1") -> int:
    """Return a TCP port of `PORTS` that is free now, a different one each time.

    Raises `PortInUseError` if a thousand ports drawn from them are taken.
    """
    draw = SystemRandom()
    for _ in range(1_000):
        port = draw.choice(PORTS)
        if port in _given_out:
            continue
        with socket.socket(_family(host)) as probe:
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        _given_out.append(port)
        return port
    raise PortInUseError(f"no free port found on {host} between {PORTS.start} and {PORTS.stop - 1}")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def require_port(host: str, port: int, setting: str) -> None:
    """Raise `PortInUseError` if `port` is taken, `InputError` if it cannot be bound on `host`."""
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                section = setting.rpartition(".")[0]
                raise InputError(
                    f"{host} is no address of this machine; set {section}.host to one, as 127.0.0.1"
                ) from error
            if error.errno == errno.EACCES:
                raise InputError(
                    f"port {port} is reserved for the system's administrator; set {setting} above 1023"
                ) from error
            raise PortInUseError(
                f"port {port} on {host} is in use by another process; stop it, or set {setting} to another"
            ) from error


def adopt_orphans() -> None:
    """Make this process the reaper of its descendants, so that no orphan escapes.

    Linux only (prctl 36, PR_SET_CHILD_SUBREAPER); elsewhere orphans of a killed child may escape.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Let this child be killed when its parent dies; call it before exec.

    Linux only (prctl 1, PR_SET_PDEATHSIG).
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)


def stop_descendants(grace_seconds: float = 3.0) -> int:
    """End every descendant of this process and return their number.

    Each gets SIGTERM first, and SIGKILL after `grace_seconds`.
    """
    children = psutil.Process().children(recursive=True)
    for child in children:
        _signal(child, signal.SIGTERM)
    _, alive = psutil.wait_procs(children, timeout=grace_seconds)
    # Orphans that were adopted meanwhile are descendants too.
    for child in {*alive, *psutil.Process().children(recursive=True)}:
        _signal(child, signal.SIGKILL)
    psutil.wait_procs(psutil.Process().children(recursive=True), timeout=grace_seconds)
    return len(children)


def _signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
