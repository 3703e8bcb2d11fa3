"""An MLflow server of the tests' own, and a gate before it that demands a login or loses answers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import free_port

MAX_START_SECONDS = 90


class MlflowServer:
    """A running server on a free port of loopback, its artifacts in `folder`."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder, self.database, self.port = folder, database, free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def uri(self) -> str:
        """Address of the server."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {
            **os.environ,
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
            "--workers", "1", "--backend-store-uri", self.database, "--serve-artifacts",
            "--artifacts-destination", str(self.folder / "files"),
        ]  # fmt: skip
        log = (self.folder / "server.log").open("ab")
        self._process = subprocess.Popen(
            command, stdout=log, stderr=log, env=environment, cwd=self.folder, start_new_session=True
        )
        log.close()
        until = monotonic() + MAX_START_SECONDS
        while monotonic() < until and self._process.poll() is None:
            try:
                if requests.get(f"{self.uri}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                sleep(0.1)
        raise RuntimeError((self.folder / "server.log").read_text())

    def close(self) -> None:
        """End it, with the workers that it started."""
        if self._process is not None:
            os.killpg(self._process.pid, 9)
            self._process.wait()
            self._process = None


class Gate:
    """A proxy before a server: `refuse` may answer a request itself, `lose` drops answers that it got."""

    def __init__(self, server: str) -> None:
        self.authorization: str | None = None
        self.lose: Callable[[str], bool] = lambda path: False
        self.seen: list[str] = []
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                gate.seen.append(f"{self.command} {self.path.partition('?')[0]}")
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if gate.authorization and self.headers.get("Authorization") != gate.authorization:
                    self.send_error(401)
                    return
                kinds = {"Content-Type": self.headers.get("Content-Type") or "application/octet-stream"}
                answer = requests.request(
                    self.command, server + self.path, data=content, headers=kinds, timeout=30
                )
                if gate.lose(self.path):
                    self.close_connection = True
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        """Address of the gate."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Answer nothing more."""
        self._server.shutdown()
        self._server.server_close()
