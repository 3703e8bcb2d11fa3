"""Temporary folder of one run, with a path short enough for sockets, and always removed."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

PARENT = Path("/tmp")  # noqa: S108 - a unix socket's path has 107 bytes, which TMPDIR may exhaust
PREFIX, OWNER = "alr-", "owner.pid"
GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Folder of this process, for the sockets, logs and files of its child processes."""

    path: Path

    @classmethod
    def make(cls) -> RunFolder:
        """Create a new folder, after removing those of processes that were killed."""
        remove_orphans()
        folder = cls(Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT)))
        (folder.path / OWNER).write_text(str(os.getpid()))
        return folder

    def remove(self) -> None:
        """End all processes that run from the folder, and remove it.

        One of them is HAProxy, which outlives its killed actor.
        """
        prefix = f"{self.path}/"
        strays = [process for process in psutil.process_iter() if _runs_from(process, prefix)]
        for process in strays:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(strays, timeout=GRACE_SECONDS)
        shutil.rmtree(self.path, ignore_errors=True)


def remove_orphans() -> None:
    """Remove the folders of processes that were killed before they could do so."""
    for path in PARENT.glob(f"{PREFIX}*"):
        try:
            owner = int((path / OWNER).read_text())
        except (OSError, ValueError):
            continue
        if not psutil.pid_exists(owner):
            RunFolder(path).remove()


def _runs_from(process: psutil.Process, prefix: str) -> bool:
    """Return whether `process` was started with a file in the folder.

    Ray's actors hide their command line, but keep log files open there.
    """
    try:
        line = process.cmdline()
        if line and line[0].startswith("ray::"):
            return any(one.path.startswith(prefix) for one in process.open_files())
        return process.pid != os.getpid() and any(prefix in part for part in line)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
