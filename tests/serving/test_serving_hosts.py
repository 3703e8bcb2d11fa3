"""How hosts start, end, and share a machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient

from alphaloop.clock import monotonic
from alphaloop.errors import PortInUseError, ServingError, SettingsError
from alphaloop.runtime.processes import child_environment, free_port, require_port
from alphaloop.settings.settings import Settings
from serving.client.client import PredictionClient
from serving.hosts.ports import spare_ports
from serving.hosts.process import ProcessHost
from serving.hosts.ray import RayHost, ray_environment
from serving.hosts.run_folder import RunFolder, remove_orphans
from serving.log.prediction_log import PredictionLogReader

BAR = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)

FOREVER = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts.ports import spare_ports
from serving.hosts.process import ProcessHost
host = ProcessHost(Settings.model_validate_json(sys.argv[1]), grpc_port=int(sys.argv[2]))
host.run_forever(lambda url: print(url, flush=True))
print("drained", flush=True)
"""

# A caller that needs Ray for itself: it initialises it, and the host moves in and out.
SHARED = """
import os, signal, sys, tempfile
from datetime import datetime
from urllib.request import urlopen
from alphaloop.settings.settings import Settings
from serving.client.client import PredictionClient
from serving.hosts.ray import RayHost, environment, start_ray
from serving.hosts.run_folder import RunFolder
folder = RunFolder.make()
mine = lambda *_: None
signal.signal(signal.SIGTERM, mine)
os.environ.update(environment(folder.path))
import ray
start_ray(folder.path)
settings = Settings.model_validate_json(sys.argv[1])
with RayHost(settings) as host:
    with PredictionClient.from_settings(settings) as client:
        print(host.ingress, client.forecast(["S00"], datetime.fromisoformat(sys.argv[2])).version)
    told = f'model="{settings.serving.model}"'
    with urlopen(f"http://127.0.0.1:{settings.serving.http_port}/metrics", timeout=10) as page:
        print(told in page.read().decode())
    with urlopen(f"http://127.0.0.1:{settings.serving.metrics_port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    print(any(told in line and 'replica="' in line for line in lines))
    print(len({line.partition('replica="')[2].partition('"')[0] for line in lines if 'replica="' in line}))
    work = ray.remote(num_cpus=1)(lambda: tempfile.gettempdir())
    print(ray.get(work.remote(), timeout=60) == str(folder.path / "tmp"))
print(ray.is_initialized(), signal.getsignal(signal.SIGTERM) is mine, flush=True)
ray.shutdown()
folder.remove()
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens and never answers."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield int(holder.getsockname()[1])


@pytest.mark.parametrize("host", [ProcessHost, RayHost])
def test_a_port_in_use_is_named_before_anything_starts(world: Any, taken: int, host: Any) -> None:
    """The error names the port and the setting; no child was started and no folder made."""
    children = len(psutil.Process().children(recursive=True))
    with pytest.raises(PortInUseError, match=rf"port {taken} on 127.0.0.1 .*serving.grpc_port"):
        host(world.settings(), grpc_port=taken).start()
    assert len(psutil.Process().children(recursive=True)) == children
    assert "ray" not in sys.modules or not sys.modules["ray"].is_initialized()


def test_the_client_gives_up_at_its_deadline(taken: int) -> None:
    """A server that accepts and never answers costs the deadline and no more."""
    client = PredictionClient(f"127.0.0.1:{taken}", "equities")
    began = monotonic()
    # gRPC may know by then that this connection came to nothing: earlier tests tried it too.
    with client, pytest.raises(ServingError, match=r"Deadline Exceeded|timed out before receiving SETTINGS"):
        client.forecast(["S00"], BAR, deadline_ms=100)
    assert monotonic() - began < 5


def test_a_deadline_must_be_positive(taken: int) -> None:
    """A deadline of nothing is refused: tritonclient would take it for none at all."""
    client = PredictionClient(f"127.0.0.1:{taken}", "equities")
    with client, pytest.raises(ValueError, match="deadline_ms is 0"):
        client.forecast(["S00"], BAR, deadline_ms=0)


def test_a_terminated_server_drains(world: Any, shelf: Any) -> None:
    """SIGTERM ends the plain host with code 0, and every answered prediction is in the log."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    settings: Settings = world.settings(model=shelf.name)
    command = [sys.executable, "-c", FOREVER, settings.model_dump_json(), str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        with PredictionClient(url, shelf.name) as client:
            asked = {client.forecast(world.symbols, world.bar).prediction_id for _ in range(10)}
        child.send_signal(signal.SIGTERM)
        assert child.stdout.read().split() == ["drained"]
        assert child.wait(20) == 0
    rows = PredictionLogReader(settings.paths.prediction_log, shelf.name).new()
    assert {row.prediction_id for row in rows} == asked


def test_a_terminated_server_answers_while_it_says_that_it_is_not_ready(world: Any, shelf: Any) -> None:
    """For `serving.drain_seconds` after SIGTERM no page or call says ready, and predictions go on."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    ports = {"http_port": free_port(), "metrics_port": free_port()}
    settings: Settings = world.settings(model=shelf.name, drain_seconds=3.0, **ports)
    command = [sys.executable, "-c", FOREVER, settings.model_dump_json(), str(free_port())]
    health = [f"http://127.0.0.1:{ports['http_port']}/v2/health/ready"]
    health.append(f"http://127.0.0.1:{ports['metrics_port']}/readyz")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=child_environment()) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        try:
            with PredictionClient(url, shelf.name) as client, InferenceServerClient(url) as triton:
                assert triton.is_server_ready()
                assert [httpx.get(page).status_code for page in health] == [200, 200]
                child.send_signal(signal.SIGTERM)
                began = monotonic()
                while triton.is_server_ready():
                    assert monotonic() - began < 2.0
                assert [httpx.get(page).status_code for page in health] == [503, 503]
                assert httpx.get(health[1]).json()["parts"]["server"]["state"] == "down"
                assert httpx.get(health[1].replace("readyz", "livez")).status_code == 200
                assert client.forecast(world.symbols, world.bar).prediction_id
            assert child.wait(20) == 0
            assert monotonic() - began >= 3.0
        finally:
            child.kill()


def test_a_host_can_start_again(world: Any, shelf: Any) -> None:
    """After a stop the port is free, and stopping twice does no harm."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    host = ProcessHost(world.settings(model=shelf.name), free_port())
    for _ in range(2):
        with host, PredictionClient(host.url, shelf.name) as client:
            assert client.ready()
        host.stop()
        require_port("127.0.0.1", int(host.url.rpartition(":")[2]), "serving.grpc_port")


@pytest.mark.long
def test_a_host_moves_into_a_ray_that_runs(world: Any, shelf: Any) -> None:
    """An initialised Ray is used and left running, and a task of one CPU runs beside the replica.

    It listens on the ports of the settings; the replica's metrics are on that of HTTP and on their own. Ray's
    workers keep their temporary files in the run's folder, and the caller keeps its SIGTERM.
    """
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    ports = {name: free_port() for name in ("grpc_port", "http_port", "metrics_port")}
    settings: Settings = world.settings(model=shelf.name, **ports)
    command = [sys.executable, "-c", SHARED, settings.model_dump_json()]
    result = subprocess.run(
        [*command, world.bar.isoformat()],
        capture_output=True,
        text=True,
        env=child_environment(),
        timeout=240,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["haproxy", "1", "True", "True", "1", "True", "True", "True"]


def test_ray_is_given_its_environment(tmp_path: Path) -> None:
    """HAProxy's files lie in the run's folder, and its ports are free ones."""
    first = ray_environment(Path("/tmp/a"))
    assert first["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert {
        value for name, value in first.items() if "/" in value and not value.startswith("/tmp/a")
    } == set()
    ports = {name: int(value) for name, value in first.items() if name.endswith("_PORT")}
    assert len(set(ports.values())) == len(ports) - 1 == 7  # one range ends where the next begins
    for port in ports.values():
        require_port("", port, "the environment")
    with pytest.raises(SettingsError, match="sockets in it allow"):
        ray_environment(tmp_path / "a-folder-whose-path-is-too-long")


def test_without_haproxy_the_python_proxy_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no binary neither HAProxy nor direct ingress is asked for."""
    monkeypatch.setattr("serving.hosts.environment.has_haproxy", lambda: False)
    variables = ray_environment(Path("/tmp/a"))
    assert variables["RAY_SERVE_ENABLE_HA_PROXY"] == variables["RAY_SERVE_ENABLE_DIRECT_INGRESS"] == "0"


def test_spare_ports_are_not_those_in_use() -> None:
    """A port that is taken or was given is passed over, and no more are promised than there are."""
    (first,) = spare_ports(1)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", first + 2))
        holder.listen()
        assert not {first, first + 2} & set(spare_ports(3))
    with pytest.raises(PortInUseError, match="no 20000 free ports in a row"):
        spare_ports(20_000)


def test_what_a_killed_run_left_is_swept() -> None:
    """The folder of a process that is gone is removed with what runs out of it; others stay."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    left, ours = RunFolder.make(), RunFolder.make()
    (left.path / "owner.pid").write_text(str(gone.pid))
    script = left.path / "stray.py"
    script.write_text("import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, str(script)]) as stray:
        remove_orphans()
        assert not psutil.pid_exists(stray.pid)
    assert not left.path.exists()
    assert ours.path.exists()
    ours.remove()
    assert not ours.path.exists()
