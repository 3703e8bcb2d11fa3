"""A PostgreSQL of the tests' own: a cluster in a temporary folder, on a free port of loopback."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

from alphaloop.runtime.processes import free_port

USER = "alphaloop"
UNPRIVILEGED = ("postgres", "nobody")


def postgres_programs() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian keeps them out of the path; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda one: int(one.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("postgres")
    return Path(on_path).resolve().parent if on_path else None


class PostgresServer:
    """A running server; `database` makes an empty one and gives its URL."""

    def __init__(self, programs: Path) -> None:
        self._programs, self.port = programs, free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="alphaloop-postgres-"))
        # PostgreSQL refuses to run as root.
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {one.pw_name for one in pwd.getpwall()}
            user = next(name for name in UNPRIVILEGED if name in names)
            self._as = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
            shutil.chown(self.folder, user)
        data = self.folder / "data"
        self._run(
            "initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"
        )
        self._options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self.folder / "log"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(log), "-w", "-o", self._options, "start"
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` breaks off what runs, `immediate` is a crash."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", mode, "-w", "stop")

    def database(self) -> str:
        """Create an empty database; returns its URL."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        place = ("-h", "127.0.0.1", "-p", str(self.port), "-U", USER)
        self._run("createdb", *place, name)
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        """Stop it and remove its folder."""
        subprocess.run(
            [self._programs / "pg_ctl", "-D", self.folder / "data", "-m", "immediate", "stop"],
            capture_output=True, check=False, cwd="/", **self._as,
        )  # fmt: skip
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._programs / program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True, cwd="/", check=False, **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
