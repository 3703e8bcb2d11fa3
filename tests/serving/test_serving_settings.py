"""Each setting of `serving` is honoured by a host, or ends its start: none is ignored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import urlopen

import pytest

from alphaloop.errors import SettingsError
from alphaloop.runtime.processes import free_port
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from alphaloop.telemetry.prometheus import registry_for
from cli.commands.serve import serve
from serving.client.client import PredictionClient
from serving.client.settings import ConnectionSettings
from serving.hosts import unsupported_settings
from serving.hosts.deployment import deployment_options, serve_config
from serving.hosts.process import ProcessHost
from serving.hosts.ray import InferenceReplica, RayHost
from serving.hosts.replica_metrics import ReplicaMetricsCollector, open_metrics_page
from serving.hosts.unsupported_settings import RULES, HostKind, require_supported_settings
from serving.inference.core import build_core
from serving.protocol.errors import RateLimitError, UnauthenticatedError
from serving.security.access import Scope
from serving.server.gateway import Gateway
from serving.server.grpc.incoming_message import IncomingMessage

from .edges import Context

SETTINGS = tuple(ServingSettings.model_fields)
TOKEN = "a-token-of-the-trader"
# A value of each setting that the core or its gateway honours, on any host; none is the default.
CHOSEN: dict[str, Any] = {
    "poll_seconds": 7.0, "allow_drills": True, "rate_limit": 0.001, "rate_burst": 2, "max_in_flight": 3,
    "batch_symbols": 5, "max_request_bytes": 2_048, "log_retention_days": 9, "log_max_bytes": 12_345,
    "breaker_failures": 4, "breaker_seconds": 6.0, "slow_ms": 11.0, "last_good_seconds": 13.0,
}  # fmt: skip
# What a host does itself: shown by tests below, which start it.
BY_HOST = {
    # TLS: tests/serving/certificates.
    HostKind.PROCESS: (
        "host", "grpc_port", "http_port", "metrics_port", "tls_certificate", "tls_key", "tls_client_ca",
        "drain_seconds",
    ),
    HostKind.RAY: (
        "host", "grpc_port", "http_port", "metrics_port", "replicas", "max_replicas", "target_busy",
    ),
    HostKind.CLUSTER: ("grpc_port", "http_port", "replicas", "max_replicas", "target_busy"),
}  # fmt: skip
# Settings that choose the host, or that a test of their own below is about, whichever host it is.
ANYWHERE = ("runtime", "model", "tokens", "signing_key", "log_location")
# Values that a host cannot honour, by setting.
REFUSED: dict[HostKind, dict[str, Any]] = {
    HostKind.PROCESS: {"replicas": 2, "max_replicas": 2, "target_busy": 0.5},
    HostKind.RAY: {
        "tls_certificate": Path("c"), "tls_key": Path("k"), "tls_client_ca": Path("a"), "rate_limit": 5.0,
        "http_port": 0, "host": "::1", "drain_seconds": 7.0,
        "replicas": 9, "max_replicas": 9, "target_busy": 0.5,
    },
    HostKind.CLUSTER: {
        "tls_certificate": Path("c"), "tls_key": Path("k"), "tls_client_ca": Path("a"), "rate_limit": 5.0,
        "http_port": 0, "host": "10.0.0.1", "drain_seconds": 7.0, "metrics_port": 9_999, "target_busy": 0.5,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", HostKind)
@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_is_accounted_for(name: str, kind: HostKind) -> None:
    """A setting that is new is honoured or refused by each host, and this file shows which."""
    shown = name in {*CHOSEN, *ANYWHERE, *BY_HOST[kind], *REFUSED[kind]}
    assert shown, f"nothing shows what the host '{kind}' does with serving.{name}"


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, values in REFUSED.items() for name, value in values.items()],
)
def test_what_a_host_cannot_honour_ends_its_start(kind: HostKind, name: str, value: Any) -> None:
    """The setting is named, with its value and a way out, before anything is started."""
    with pytest.raises(SettingsError, match=rf"serving\.{name} is .*, which cannot be: "):
        require_supported_settings(ServingSettings(**{name: value}), kind)


def test_each_rule_is_shown_and_the_defaults_break_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rule stands here that nothing tries, and a host starts with the settings that nobody has touched."""
    assert {rule.setting for rule in RULES[HostKind.PROCESS]} == set(REFUSED[HostKind.PROCESS])
    for kind in (HostKind.RAY, HostKind.CLUSTER):
        assert {rule.setting for rule in RULES[kind]} <= {*REFUSED[kind], "max_replicas", "metrics_port"}
    for kind in HostKind:
        require_supported_settings(ServingSettings(), kind)
    with pytest.raises(SettingsError, match=r"less than serving\.replicas"):
        require_supported_settings(ServingSettings(replicas=4, max_replicas=2), HostKind.CLUSTER)
    monkeypatch.setattr(unsupported_settings, "has_haproxy", lambda: False)
    with pytest.raises(SettingsError, match=r"serving\.metrics_port is 8002.*without HAProxy"):
        require_supported_settings(ServingSettings(replicas=2), HostKind.RAY)


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (lambda settings: ProcessHost(settings).start(), HostKind.PROCESS),
        (lambda settings: RayHost(settings).start(), HostKind.RAY),
        (serve_config, HostKind.CLUSTER),
    ],
    ids=["process", "ray", "cluster"],
)
def test_each_host_asks(world: Any, start: Callable[[Any], Any], kind: HostKind) -> None:
    """The rules are those of the host's own start, also where TLS would be ignored otherwise."""
    name, value = next(iter(REFUSED[kind].items()))
    with pytest.raises(SettingsError, match=f"serving.{name}"):
        start(world.settings(**{"http_port": free_port(), name: value}))


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with one token."""
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text(f"trader predict {TOKEN}\n")
    return file


@pytest.fixture(scope="module", params=["process and cluster's core", "replica of Ray"])
def gateway(request: pytest.FixtureRequest, world: Any, module_shelf: Any, tokens: Path) -> Iterator[Gateway]:
    """The gateway that hosts of either kind put their edges over, made of settings that are all others."""
    if module_shelf.registry.models().count(module_shelf.name) == 0:
        module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    settings = world.settings(model=module_shelf.name, tokens=tokens, **CHOSEN)
    replica = InferenceReplica(settings)
    made = replica.gateway if "Ray" in request.param else Gateway(replica.gateway.core, settings)
    yield made
    replica.__del__()


def test_the_core_honours_each_setting_of_its_own(gateway: Gateway, module_shelf: Any) -> None:
    """Each value that was chosen is the one by which the parts of the server work, whoever hosts it."""
    core = gateway.core
    breaker = core.breakers._watched(module_shelf.name, "1").breaker
    found = {
        "poll_seconds": core._router._poll_seconds,
        "allow_drills": core._settings.serving.allow_drills,
        "rate_limit": gateway.limit._rate if gateway.limit else None,
        "rate_burst": gateway.limit._burst if gateway.limit else None,
        "max_in_flight": gateway.admission.limit,
        "batch_symbols": gateway.batching._symbols,
        "max_request_bytes": gateway.settings.serving.max_request_bytes,
        "log_retention_days": core._compactor._retention_days,
        "log_max_bytes": core._log.space._max_bytes,
        "breaker_failures": breaker._limit,
        "breaker_seconds": breaker._window,
        "slow_ms": core.breakers._settings.slow_ms,
        "last_good_seconds": core._executor._last_good._seconds,
    }
    assert found == CHOSEN
    assert core.ready
    assert core.rollout_versions(module_shelf.name) == ("1",)


def test_limits_hold_for_each_client_on_any_host(gateway: Gateway) -> None:
    """Without the token nobody is answered, and with it no more often than the burst allows."""
    with pytest.raises(UnauthenticatedError):
        gateway.authorise(None, "127.0.0.1", Scope.PREDICT)
    for _ in range(2):
        gateway.authorise(f"Bearer {TOKEN}", "127.0.0.1", Scope.PREDICT)
    with pytest.raises(RateLimitError, match="client 'trader'"):
        gateway.authorise(f"Bearer {TOKEN}", "127.0.0.1", Scope.PREDICT)


def test_a_request_beyond_the_limit_is_refused_by_the_edge_itself(world: Any, module_shelf: Any) -> None:
    """Ray Serve's gRPC takes messages of any size: so the edge looks, on the way into a stream too."""
    if module_shelf.registry.models().count(module_shelf.name) == 0:
        module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    replica = InferenceReplica(world.settings(model=module_shelf.name, max_request_bytes=2_048))
    try:
        context = Context()
        for size in (2_049, 2**24):
            asyncio.run(replica.infer(IncomingMessage(size, content=b"x"), context, 0.0))
            assert context.code.name == "RESOURCE_EXHAUSTED"
            assert "at most 2048 (serving.max_request_bytes)" in context.details
            streamed = asyncio.run(replica.infer_streamed(IncomingMessage(size, content=b"x"), Context()))
            assert "at most 2048 (serving.max_request_bytes)" in streamed.error_message
    finally:
        replica.__del__()


def test_what_ray_is_told_of_replicas() -> None:
    """Their number, its limits, the target, and more requests at once than the server lets in."""
    fixed = deployment_options(ServingSettings(replicas=3, max_in_flight=500))
    assert (fixed["num_replicas"], fixed["max_ongoing_requests"] > 500) == (3, True)
    scaled = deployment_options(ServingSettings(replicas=2, max_replicas=4, target_busy=0.4))[
        "autoscaling_config"
    ]
    assert (scaled["min_replicas"], scaled["max_replicas"]) == (2, 4)


def test_a_replica_tells_its_target(world: Any, module_shelf: Any) -> None:
    """The share of a core at which Serve adds a replica is that of the settings."""
    replica = InferenceReplica(world.settings(model=module_shelf.name, max_replicas=2, target_busy=0.4))
    try:
        assert asyncio.run(replica.record_autoscaling_stats())["target_busy"] == 0.4
    finally:
        replica.__del__()


def test_versions_must_be_signed_on_any_host(world: Any, tmp_path: Path) -> None:
    """Each host builds its core of all the settings, the public key among them."""
    key = tmp_path / "key.pem"
    assert build_core(world.settings(signing_key=key))._model_cache._signing_key == key


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["IPv4", "IPv6"])
def test_the_process_listens_where_it_is_told(world: Any, module_shelf: Any, host: str) -> None:
    """gRPC, HTTP and metrics lie on the host and the ports of the settings, on either version of IP."""
    if module_shelf.registry.models().count(module_shelf.name) == 0:
        module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    ports = {name: free_port(host) for name in ("grpc_port", "http_port", "metrics_port")}
    settings = world.settings(model=module_shelf.name, host=host, **ports)
    with ProcessHost(settings) as started:
        shown = f"[{host}]" if ":" in host else host
        assert started.url == f"{shown}:{ports['grpc_port']}"
        assert started.http_url == f"{shown}:{ports['http_port']}"
        with PredictionClient.from_settings(settings) as client:
            assert client.forecast(world.symbols[:2], world.bar).version == "1"
        line = HTTPConnection(host, ports["http_port"], timeout=10)
        line.request("GET", "/v2/health/ready")
        assert line.getresponse().status == 200
        line.close()
        with urlopen(started.metrics_url, timeout=10) as page:
            assert "alphaloop_serving" in page.read().decode()


def test_an_address_may_have_the_brackets_of_a_url() -> None:
    """IPv6 addresses are written with brackets before a port, and without them as a host."""
    assert ServingSettings(host="[::1]").host == "::1"
    connection = ConnectionSettings.from_settings(
        Settings(serving=ServingSettings(host="[::1]", grpc_port=9_001))
    )
    assert connection.urls == ("[::1]:9001",)
    assert ConnectionSettings.from_settings(Settings()).urls == ("127.0.0.1:8001",)


def test_the_page_of_a_local_ray_holds_each_replica() -> None:
    """Where several replicas count by themselves, each count says whose it is."""
    from prometheus_client import start_http_server
    from prometheus_client.core import CounterMetricFamily

    class Asked:
        """One replica's page."""

        def __init__(self, count: int) -> None:
            self._count = count

        def collect(self) -> Iterator[Any]:
            told = CounterMetricFamily("alphaloop_asked", "Requests.", labels=("model",))
            told.add_metric(("m",), self._count)
            yield told

    ports = [free_port(), free_port()]
    servers = []
    for port, count in zip(ports, (3, 5), strict=True):
        servers.append(start_http_server(port, addr="127.0.0.1", registry=registry_for(Asked(count)))[0])
    away = free_port()
    try:
        (family,) = [
            one for one in ReplicaMetricsCollector([f"127.0.0.1:{port}" for port in (*ports, away)]).collect()
            if one.name == "alphaloop_asked"
        ]  # fmt: skip
        totals = [sample for sample in family.samples if sample.name.endswith("_total")]
        counts = {sample.labels["replica"]: sample.value for sample in totals}
        assert counts == {str(ports[0]): 3.0, str(ports[1]): 5.0}
        port = free_port()
        page = open_metrics_page("127.0.0.1", port, f"127.0.0.1:{ports[0]}")
        assert page is not None
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert f'alphaloop_asked_total{{model="m",replica="{ports[0]}"}} 3.0' in answer.read().decode()
        page.close()
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert open_metrics_page("127.0.0.1", 0) is None


@pytest.mark.parametrize("runtime", ["ray", "process"])
def test_the_command_starts_the_host_of_the_settings(
    world: Any, module_shelf: Any, monkeypatch: pytest.MonkeyPatch, runtime: str
) -> None:
    """`alphaloop serve` runs the host that `serving.runtime` names, on the port that it is given."""
    if module_shelf.registry.models().count(module_shelf.name) == 0:
        module_shelf.route(champion=module_shelf.add(1.0, 2.0, 3.0))
    ran: list[tuple[str, str]] = []
    for name, host in (("ray", RayHost), ("process", ProcessHost)):
        monkeypatch.setattr(host, "run_forever", lambda self, _, name=name: ran.append((name, self.url)))
    monkeypatch.setenv("ALPHALOOP_HOME", str(world.home))
    monkeypatch.setenv("ALPHALOOP_SERVING__RUNTIME", runtime)
    port = free_port()
    serve(SimpleNamespace(invoked_subcommand=None), port=port)  # type: ignore[arg-type]
    assert ran == [(runtime, f"127.0.0.1:{port}")]
