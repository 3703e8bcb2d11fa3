"""HTTP servers of the process host: uvicorn on the event loop that serves gRPC too."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

from alphaloop.errors import PortInUseError
from serving.security.tls import ServerCertificates

# Idle connections are closed after this; clients' connection pools keep theirs for less.
KEEP_ALIVE_SECONDS = 75
GRACE_SECONDS = 5
BACKLOG = 512


class HttpServer:
    """ASGI application on one port."""

    def __init__(self, application: Any, host: str, port: int, setting: str) -> None:
        self._application, self._host, self._port, self._setting = application, host, port, setting
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self, certificates: ServerCertificates | None = None) -> None:
        """Listen; raises `PortInUseError` if the port cannot be bound."""
        import uvicorn

        listener = self._bind()
        # uvicorn's log lines add nothing to the metrics, and a refused request is no error of the server.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        config = uvicorn.Config(
            self._application,
            http="serving.server.http.http_header_limits:BoundedHeaderProtocol",
            loop="none",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        # Loaded before the start, which would build another TLS context from the files' names.
        config.load()
        config.ssl = certificates.for_https() if certificates else None
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started and not self._serving.done():
            await asyncio.sleep(0.005)
        if self._serving.done():
            await self._serving

    async def stop(self) -> None:
        """Answer the requests that have arrived, then close. Idempotent."""
        if self._serving is not None:
            self._server.should_exit = True
            await self._serving
            self._serving = None

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise PortInUseError(
                f"port {self._port} on {self._host} cannot be bound ({error.strerror}); set {self._setting}"
            ) from error
        listener.setblocking(False)
        return listener
