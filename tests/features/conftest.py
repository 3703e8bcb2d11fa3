"""Real bars, few enough to be quick, and the parts that tests of this room share."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import free_port
from features.store.online_address import online_address
from features.store.redis_lease import connect_redis


class RedisServer:
    """A Redis of our own on a free port, which forgets everything when it stops."""

    def __init__(self, folder: Path, password: str = "") -> None:
        self.folder, self.password, self.port = folder, password, free_port()
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        given = ["--requirepass", self.password] if self.password else []
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *given,
             "--appendonly", "no", "--dir", str(self.folder)],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        client = connect_redis(online_address(self.address.replace("//", f"//:{self.password}@")))
        deadline = monotonic() + 20
        while True:
            try:
                client.ping()
                break
            except Exception:
                if monotonic() > deadline:
                    raise
                sleep(0.02)
        client.close()

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="session")
def redis_server() -> Callable[..., AbstractContextManager[RedisServer]]:
    """Starts a Redis for a block: call it with a folder, and with a password for one that asks for it.

    Without the program `redis-server` the test is skipped; it fails where nothing may be missing.
    """

    @contextmanager
    def started(folder: Path, password: str = "") -> Iterator[RedisServer]:
        if shutil.which("redis-server") is None:
            if os.environ.get("CI") == "true":
                pytest.fail("redis-server is not installed")
            pytest.skip("redis-server is not installed")
        server = RedisServer(folder, password)
        try:
            yield server
        finally:
            server.stop()

    return started
