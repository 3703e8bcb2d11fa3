"""Host without Ray: gRPC and HTTP in one process.

The inference core runs behind both on one event loop, in a thread.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from alphaloop.clock import sleep
from alphaloop.errors import AlphaloopError, PortInUseError, ServingError
from alphaloop.runtime.processes import require_port
from alphaloop.settings.settings import Settings
from serving.hosts.signals import Termination
from serving.hosts.switch_interval import set_switch_interval
from serving.hosts.unsupported_settings import HostKind, require_supported_settings
from serving.inference.core import InferenceCore, build_core
from serving.protocol.address import format_address
from serving.security.access import require_access_control
from serving.security.tls import ServerCertificates
from serving.server.gateway import Gateway
from serving.server.health_pages import ServerHealth
from serving.server.large_requests import reserve_memory

GRACE_SECONDS = 5.0
START_SECONDS = 30.0


class ProcessHost:
    """Host that serves gRPC, HTTP and metrics from one process, without Ray.

    Parameters
    ----------
    settings : Settings
        Settings with host, ports, models and limits. If the port of HTTP or metrics is 0, it is not served.
    grpc_port : int, optional
        Port of gRPC, instead of that of the settings.

    Examples
    --------
    >>> from alphaloop.settings.settings import Settings
    >>> ProcessHost(Settings(), grpc_port=9001).url
    '127.0.0.1:9001'
    """

    def __init__(self, settings: Settings, grpc_port: int | None = None) -> None:
        self._settings, self._serving = settings, settings.serving
        self._port = grpc_port or settings.serving.grpc_port
        self._core: InferenceCore | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._health: ServerHealth | None = None
        self._listening = threading.Event()
        self._problem: Exception | None = None

    @property
    def url(self) -> str:
        """Host and port of gRPC, as `tritonclient` takes them."""
        return format_address(self._serving.host, self._port)

    @property
    def http_url(self) -> str:
        """Host and port of HTTP."""
        return format_address(self._serving.host, self._serving.http_port)

    @property
    def metrics_url(self) -> str:
        """Url of the metrics, for Prometheus."""
        return f"http://{format_address(self._serving.host, self._serving.metrics_port)}/metrics"

    def start(self) -> str:
        """Load the models and listen.

        Returns
        -------
        str
            Host and port of gRPC.

        Raises
        ------
        PortInUseError
            If a port is taken.
        SettingsError
            For a setting that one process cannot honour, for an address that is not loopback without tokens,
            and for tokens or certificates that cannot be read.
        ServingError
            If the server does not listen in time.

        Ports and settings are checked before anything is started.
        """
        require_supported_settings(self._serving, HostKind.PROCESS)
        require_access_control(self._serving)
        certificates = ServerCertificates.from_settings(self._serving)
        self._require_ports()
        self._listening, self._problem = threading.Event(), None
        core = build_core(self._settings)
        gateway = Gateway(core, self._settings)
        self._core, self._health = core, gateway.health
        try:
            core.start()
            listen = self._listen(gateway, certificates)
            self._thread = threading.Thread(target=_run, args=(listen,), name="serving", daemon=True)
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
        """Refuse new requests, answer those in flight, and write the prediction log. Idempotent."""
        if self._loop is not None and self._ending is not None and self._thread is not None:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()
        self._thread = self._loop = self._ending = None
        if self._core is not None:
            self._core.close()
            self._core = None

    def run_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until SIGTERM or Ctrl-C, then drain. Main thread only.

        After SIGTERM the server reports that it is not ready and answers for another `serving.drain_seconds`,
        in which load balancers and clients turn to others. `on_ready` is called with the url once the server
        listens.
        """
        with Termination() as termination:
            try:
                url = self.start()
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(reserve_memory, self._serving.max_request_bytes)
                _reduce_pauses()
                if on_ready is not None:
                    on_ready(url)
                termination.wait()
                if termination.by_supervisor:
                    self._drain()
            finally:
                self.stop()
                # Frozen objects are not freed at exit, of which libraries complain.
                gc.unfreeze()

    def __enter__(self) -> ProcessHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _drain(self) -> None:
        """Answer on, not ready, for as long as others need to notice it."""
        if self._health is not None:
            self._health.drain()
        sleep(self._serving.drain_seconds)

    def _require_ports(self) -> None:
        serving = self._serving
        ports = {
            "grpc_port": self._port,
            "http_port": serving.http_port,
            "metrics_port": serving.metrics_port,
        }
        for name, port in ports.items():
            if port:
                require_port(serving.host, port, f"serving.{name}")

    async def _listen(self, gateway: Gateway, certificates: ServerCertificates | None) -> None:
        from serving.server.grpc.grpc_edge import InferenceService
        from serving.server.grpc.grpc_server import make_grpc_server

        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        server = make_grpc_server(gateway, InferenceService(gateway.core, gateway))
        https = self._http_servers(gateway)
        try:
            try:
                self._bind(server, certificates)
                await server.start()
                for index, http_server in enumerate(https):
                    # Metrics need no TLS: they are for a scraper on the same network, and hold no secret.
                    await http_server.start(certificates if index == 0 and self._serving.http_port else None)
            except (RuntimeError, AlphaloopError) as error:
                self._problem = error
                return
            finally:
                self._listening.set()
            await self._ending.wait()
            gateway.health.drain()
        finally:
            await asyncio.gather(server.stop(GRACE_SECONDS), *(http_server.stop() for http_server in https))

    def _http_servers(self, gateway: Gateway) -> list[Any]:
        from serving.server import metrics
        from serving.server.http import http_edge
        from serving.server.http.http_server import HttpServer

        serving, servers = self._serving, []
        if serving.http_port:
            edge = http_edge.http_application(gateway)
            servers.append(HttpServer(edge, serving.host, serving.http_port, "serving.http_port"))
        if serving.metrics_port:
            page = metrics.metrics_application(gateway)
            servers.append(HttpServer(page, serving.host, serving.metrics_port, "serving.metrics_port"))
        return servers

    def _bind(self, server: Any, certificates: ServerCertificates | None) -> None:
        try:
            if certificates is None:
                server.add_insecure_port(self.url)
            else:
                server.add_secure_port(self.url, certificates.for_grpc())
        except RuntimeError as error:
            raise PortInUseError(
                f"port {self._port} cannot be bound: {error}; set serving.grpc_port"
            ) from error


def _run(listen: Coroutine[Any, Any, None]) -> None:
    """Run the event loop; on uvloop if it is installed, which is a little faster."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        asyncio.run(listen)
        return
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(listen)


def _reduce_pauses() -> None:
    """Keep the garbage collector and background threads from delaying requests.

    For a process that does nothing else: the collector then ignores all objects from before the first
    request.
    """
    gc.collect()
    gc.freeze()
    set_switch_interval()
