"""Host on Ray Serve: replicas behind HAProxy and direct ingress.

This module is the sole importer of Ray Serve. Each replica holds all versions. Direct ingress answers in the
replica's own gRPC server, at a third of the latency of Serve's Python proxy. It is chosen by environment
variables that Serve's processes read when they start, so they must be set before `ray.init`. Where the
HAProxy binary is missing (it comes for Linux on x86-64), the Python proxy is used, and `ingress` says so.

HAProxy binds its statistics and metrics ports on all interfaces, and so does the replica its own ports; Serve
has no option for either, and its gRPC has no TLS. On a network, a policy must block these ports.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError
from alphaloop.runtime import package_roots
from alphaloop.runtime.processes import require_port
from alphaloop.settings.settings import Settings, load_settings
from serving.hosts.deployment import ADD_SERVICE, APPLICATION, deployment_options, logging_options
from serving.hosts.environment import HAPROXY_SWITCH, ray_environment
from serving.hosts.ingress import register_replica, unregister_replica
from serving.hosts.ports import spare_ports
from serving.hosts.replica_metrics import MetricsPage, open_metrics_page
from serving.hosts.run_folder import RunFolder
from serving.hosts.scaling import BUSY, TARGET
from serving.hosts.signals import Termination
from serving.hosts.switch_interval import set_switch_interval
from serving.hosts.unsupported_settings import HostKind, require_supported_settings
from serving.inference.core import build_core
from serving.protocol.address import format_address
from serving.security.access import require_access_control
from serving.server.grpc.grpc_edge import InferenceService

log = logging.getLogger(__name__)

__all__ = ["InferenceReplica", "RayHost", "ray_environment", "start_ray"]

HAPROXY, PYTHON_PROXY = "haproxy", "python-proxy"
CPUS = 2
OBJECT_STORE_BYTES = 150 * 2**20
START_SECONDS = 60.0


class InferenceReplica(InferenceService):
    """Inference core in a Serve actor, behind the same edges as in the process host."""

    def __init__(self, settings: Settings) -> None:
        package_roots.require_one_root()
        self._core = build_core(settings)
        self._core.start()
        super().__init__(self._core)
        self._process = psutil.Process()
        self._process.cpu_percent()
        set_switch_interval()
        register_replica(self)

    def __serve_build_asgi_app__(self) -> Any:
        """Build the HTTP edge over the gateway that gRPC uses.

        Serve calls this once the replica runs. The edge has the replica's `/metrics`: Prometheus scrapes each
        replica's own port, not the proxy's.
        """
        from serving.server.http.http_edge import http_application as edge

        return edge(self.gateway, metrics=True)

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return the cores used since the last call, and the target; Serve calls this regularly."""
        busy = self._process.cpu_percent() / 100.0
        return {BUSY: busy, TARGET: self._core.settings.serving.target_busy}

    def __del__(self) -> None:
        """Close the core; Serve calls this once the replica has drained."""
        unregister_replica(self)
        core = self.__dict__.pop("_core", None)
        if core is not None:
            core.close()


def application(arguments: dict[str, Any]) -> Any:
    """Build Serve's application for the settings in `arguments`; `serve deploy` calls it by name.

    Without settings, those of the deploying process are used: its variables, file and defaults.
    """
    from ray import serve

    values = arguments.get("settings")
    settings = load_settings() if values is None else Settings(**values)
    replica = serve.ingress()(InferenceReplica)
    return serve.deployment(replica, **deployment_options(settings.serving)).bind(settings)


def start_ray(run_dir: Path) -> None:
    """Initialise a small local Ray with all its files in `run_dir`.

    The variables of `ray_environment` must be set already. Temporary files of the workers, which Ray may kill
    before they clean up, are removed with the folder. Signals wait until Ray runs (interrupted at its start
    it may crash), and are then handled by the caller's handlers, not by Ray's own for SIGTERM, which aborts.
    """
    import ray

    # Python looks the temporary folder up once: do it before TMPDIR changes for the workers.
    tempfile.gettempdir()
    before = os.environ.get("TMPDIR")
    scratch = run_dir / "tmp"
    scratch.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(scratch)
    with Termination() as termination:
        try:
            ray.init(
                address="local",
                num_cpus=CPUS,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(run_dir),
            )
        finally:
            os.environ.pop("TMPDIR")
            if before is not None:
                os.environ["TMPDIR"] = before
    termination.act()


class RayHost:
    """Host that serves gRPC and HTTP from replicas on Ray Serve.

    If this process has initialised Ray already, that Ray is used and left running; otherwise a local one is
    started, and all its files are removed at the end. `ingress` says which ingress is in use.

    Parameters
    ----------
    settings : Settings
        Settings with host, ports, models, limits and the number of replicas.
    grpc_port : int, optional
        Port of gRPC, instead of that of the settings. HTTP then takes a free port (`http_url`), and metrics
        are not served.
    """

    def __init__(self, settings: Settings, grpc_port: int | None = None) -> None:
        # A replica may have another working folder.
        self._settings = settings.model_copy(update={"home": settings.home.resolve()})
        self._port = grpc_port or settings.serving.grpc_port
        self._separate_port = bool(grpc_port)
        self._http_port = 0 if grpc_port else settings.serving.http_port
        self._metrics_port = 0 if grpc_port else settings.serving.metrics_port
        self._metrics: MetricsPage | None = None
        self._folder: RunFolder | None = None
        self._replaced: dict[str, str | None] = {}
        self._serving = False
        self.ingress = PYTHON_PROXY

    @property
    def url(self) -> str:
        """Host and port of gRPC, as `tritonclient` takes them."""
        return format_address(self._settings.serving.host, self._port)

    @property
    def http_url(self) -> str:
        """Host and port of HTTP; known once started."""
        return format_address(self._settings.serving.host, self._http_port)

    def start(self) -> str:
        """Start Ray if needed, deploy the replicas and wait until they answer.

        Returns
        -------
        str
            Host and port of gRPC.

        Raises
        ------
        PortInUseError
            If a port is taken.
        SettingsError
            For a setting that this host cannot honour, and for an address that is not loopback without
            tokens.
        ServingError
            If Ray fails.

        Ports and settings are checked before anything is started.
        """
        serving = self._settings.serving
        # An HTTP port that is not chosen yet will be a free one; 0 here would mean that HTTP is off.
        require_supported_settings(
            serving.model_copy(
                update={"http_port": self._http_port or self._port} if self._separate_port else {}
            ),
            HostKind.RAY,
        )
        require_access_control(serving)
        require_port(serving.host, self._port, "serving.grpc_port")
        for port, name in ((self._http_port, "http_port"), (self._metrics_port, "metrics_port")):
            if port:
                require_port(serving.host, port, f"serving.{name}")
        self._http_port = self._http_port or spare_ports(1)[0]
        import ray

        try:
            if not ray.is_initialized():
                self._start_ray()
            self._deploy()
            self._await_live()
            in_front = self.http_url if self.ingress == PYTHON_PROXY else ""
            self._metrics = open_metrics_page(serving.host, self._metrics_port, in_front)
        except (ray.exceptions.RayError, RuntimeError, OSError, ValueError) as error:
            self.stop()
            raise ServingError(f"Ray Serve could not be started on {self.url}: {error}") from error
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Drain the replicas, end Serve, and also Ray if it was started here. Idempotent."""
        import ray

        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None
        if self._serving and ray.is_initialized():
            _end_serve()
        self._serving = False
        if self._folder is not None:
            ray.shutdown()
            self._folder.remove()
            self._folder = None
        for name, value in self._replaced.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._replaced = {}

    def run_forever(self, on_ready: Callable[[str], None] | None = None) -> None:
        """Serve until SIGTERM or Ctrl-C, then drain. Main thread only.

        `on_ready` is called with the url once a replica answers.
        """
        with Termination() as termination:
            try:
                url = self.start()
                if on_ready is not None:
                    on_ready(url)
                termination.wait()
            finally:
                self.stop()

    def __enter__(self) -> RayHost:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _start_ray(self) -> None:
        self._folder = RunFolder.make()
        variables = ray_environment(self._folder.path)
        self._replaced = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        start_ray(self._folder.path)

    def _deploy(self) -> None:
        from ray import serve
        from ray.serve.config import HTTPOptions, gRPCOptions
        from ray.serve.schema import LoggingConfig

        # Otherwise Serve prints each step to standard error.
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        self.ingress = HAPROXY if os.environ.get(HAPROXY_SWITCH) == "1" else PYTHON_PROXY
        if self.ingress == PYTHON_PROXY:
            log.warning("no HAProxy here: Ray Serve's Python proxy answers, at three times the latency")
        self._serving = True
        serve.start(
            proxy_location="HeadOnly",
            http_options=HTTPOptions(host=self._settings.serving.host, port=self._http_port),
            grpc_options=gRPCOptions(port=self._port, grpc_servicer_functions=[ADD_SERVICE]),
            logging_config=LoggingConfig(**logging_options()),
        )
        settings = json.loads(self._settings.model_dump_json())
        serve.run(application({"settings": settings}), name=APPLICATION, route_prefix="/")

    def _await_live(self) -> None:
        """Wait until a request gets through: HAProxy learns of the replica a moment after Serve."""
        from serving.client.client import PredictionClient

        deadline = monotonic() + START_SECONDS
        client = PredictionClient(self.url, self._settings.serving.model)
        try:
            while not client.live():
                if monotonic() > deadline:
                    raise ServingError(f"{self.url} did not answer within {START_SECONDS:g} s")
                sleep(0.05)
        finally:
            client.close()


def _end_serve() -> None:
    """Shut Serve down and wait until its controller is gone.

    `serve.shutdown` alone waits for an answer that the controller, ending itself, never gives; Ray then
    prints an error although nothing is wrong.
    """
    import ray
    from ray import serve
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    deadline = monotonic() + START_SECONDS
    try:
        controller: Any = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
        ray.get(controller.graceful_shutdown.remote(wait=False), timeout=START_SECONDS)
        while monotonic() < deadline:
            ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
            sleep(0.02)
    except (ValueError, ray.exceptions.RayError):
        # The name is free, so the controller has ended.
        pass
    serve.shutdown()
