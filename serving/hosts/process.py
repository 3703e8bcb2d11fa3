"""One process without Ray: the inference core behind `grpc.aio`, in a background thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from alphaloop.errors import PortInUseError, ServingError
from alphaloop.processes import require_port
from alphaloop.settings import Settings
from serving.core import InferenceCore, build
from serving.grpc_edge import InferenceService, add_service
from serving.hosts.termination import Termination

GRACE_SECONDS = 5.0
START_SECONDS = 30.0


class ProcessHost:
    """Serves `settings` on `settings.serving.host` and `grpc_port` (by default that of the settings)."""

    def __init__(self, settings: Settings, grpc_port: int | None = None) -> None:
        self._settings = settings
        self._port = grpc_port or settings.serving.grpc_port
        self._core: InferenceCore | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._listening = threading.Event()
        self._problem: Exception | None = None

    @property
    def url(self) -> str:
        """Host and port, as `tritonclient` takes them."""
        return f"{self._settings.serving.host}:{self._port}"

    def start(self) -> str:
        """Load the models and listen; returns the url.

        Raises `PortInUseError` before anything is started.
        """
        require_port(self._settings.serving.host, self._port, "serving.grpc_port")
        self._listening, self._problem = threading.Event(), None
        self._core = build(self._settings)
        try:
            self._core.start()
            self._thread = threading.Thread(target=self._serve, args=(self._core,), name="grpc", daemon=True)
            self._thread.start()
            if not self._listening.wait(START_SECONDS):
                raise ServingError(f"the server on {self.url} did not listen within {START_SECONDS:g} s")
            if self._problem is not None:
                raise self._problem
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Refuse new requests, answer those that are there, write the prediction log. Idempotent."""
        if self._loop is not None and self._ending is not None and self._thread is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()
        self._thread = self._loop = self._ending = None
        if self._core is not None:
            self._core.close()
            self._core = None

    def run_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until SIGTERM or Ctrl-C, then drain; `on_ready` is called with the url. Main thread only."""
        with Termination() as termination:
            try:
                url = self.start()
                if on_ready is not None:
                    on_ready(url)
                termination.wait()
            finally:
                self.stop()

    def __enter__(self) -> ProcessHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, core: InferenceCore) -> None:
        asyncio.run(self._listen(core))

    async def _listen(self, core: InferenceCore) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = _server(InferenceService(core))
        try:
            server.add_insecure_port(self.url)
            await server.start()
        except RuntimeError as error:
            self._problem = PortInUseError(
                f"port {self._port} cannot be bound: {error}; set serving.grpc_port"
            )
            self._problem.__cause__ = error
            return
        finally:
            self._listening.set()
        await self._ending.wait()
        await server.stop(GRACE_SECONDS)


def _server(service: InferenceService) -> Any:
    import grpc

    # Without this a second server would share the port in silence.
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_service(service, server)
    return server
