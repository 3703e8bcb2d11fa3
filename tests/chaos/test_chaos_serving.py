"""Chaos: models change, a replica is killed and the registry is away while forecasts are asked for.

Requests are sent at fixed times, whether or not the earlier ones were answered, and an answer's time
counts from the moment at which its request was due: a server that stalls cannot hide behind its clients.
"""

from __future__ import annotations

import importlib.util
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.errors import ServingError
from alphaloop.rollout_document import RolloutState
from alphaloop.runtime.processes import SINGLE_THREAD_ENVIRONMENT, child_environment, free_port
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import sleeve_names
from features.store.streamer import Streamer
from models.registry.model_registry import Registry
from serving.client.client import PredictionClient

SERVE = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts.ray import RayHost
host = RayHost(Settings.model_validate_json(sys.argv[1]), grpc_port=int(sys.argv[2]))
host.run_forever(lambda url: print(url, flush=True))
"""
SLEEVES = sleeve_names(20)


def _shared() -> Any:
    """The world and the models of the tests of serving."""
    path = Path(__file__).parents[1] / "serving" / "conftest.py"
    spec = importlib.util.spec_from_file_location("serving_world", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass
class Load:
    """Forecasts at `rate` a second for `seconds`, by `workers` threads that share one client."""

    client: PredictionClient
    symbols: tuple[str, ...]
    bar: Any
    rate: float
    seconds: float
    workers: int = 8
    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    versions: list[tuple[float, str]] = field(default_factory=list)
    started: float = 0.0

    def run(self) -> None:
        """Send them all, and wait for the last answer."""
        self.started = monotonic() + 0.05
        with ThreadPoolExecutor(self.workers) as pool:
            list(pool.map(self._work, range(self.workers)))

    def _work(self, worker: int) -> None:
        for number in range(worker, int(self.rate * self.seconds), self.workers):
            due = self.started + number / self.rate
            sleep(max(0.0, due - monotonic()))
            try:
                answer = self.client.forecast(self.symbols, self.bar, SLEEVES[number % len(SLEEVES)])
            except ServingError as error:
                self.errors.append(f"{due - self.started:.2f} s: {error}")
                continue
            if not all(np.isfinite(answer.scores)) or set(answer.statuses) != {"ok"}:
                self.errors.append(f"{due - self.started:.2f} s: {answer}")
            self.milliseconds.append((monotonic() - due) * 1e3)
            self.versions.append((due - self.started, answer.version))


class Replicas:
    """Two servers of one home; one can be killed and comes back."""

    def __init__(self, settings: Settings, stack: ExitStack, server_process: Any) -> None:
        self._settings, self._stack, self._server_process = settings, stack, server_process
        self._ports = [free_port(), free_port()]
        self._children = [self._start(port) for port in self._ports]
        self.urls = [child.ready() for child in self._children]

    def kill_one(self) -> None:
        """Kill the first with no warning, and put another in its place."""
        self._children[0].kill()
        assert self._children[0].wait() == -signal.SIGKILL
        self._children.append(self._start(self._ports[0]))

    def _start(self, port: int) -> Any:
        return self._stack.enter_context(self._server_process(self._settings, port))


class RayReplicas:
    """One Ray Serve with two replicas behind HAProxy; Serve replaces the one that is killed."""

    def __init__(self, settings: Settings, stack: ExitStack, _: Any) -> None:
        serving = settings.serving.model_copy(update={"replicas": 2})
        self._child = stack.enter_context(_on_ray(settings.model_copy(update={"serving": serving})))
        assert self._child.stdout is not None
        self.urls = [self._child.stdout.readline().strip()]

    def kill_one(self) -> None:
        """Kill one replica's process."""
        found = [
            process
            for process in psutil.Process(self._child.pid).children(recursive=True)
            if "ServeReplica" in " ".join(process.cmdline()[:1])
        ]
        assert len(found) == 2
        found[0].kill()


@contextmanager
def _on_ray(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SERVE, settings.model_dump_json(), str(free_port())]
    environment = child_environment(SINGLE_THREAD_ENVIRONMENT)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        try:
            yield child
        finally:
            child.send_signal(signal.SIGTERM)
            child.wait(60)


@contextmanager
def away(registry: Registry) -> Iterator[None]:
    """Nobody can read the registry's database meanwhile."""
    connection = sqlite3.connect(registry.store.database, isolation_level=None, timeout=30)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def storyline(shelf: Any, replicas: Any, seconds: float) -> list[tuple[float, Callable[[], None]]]:
    """What happens, and when (as a share of the time)."""

    def leave() -> None:
        with away(shelf.registry):
            sleep(seconds / 12)

    champion, second = "1", "2"
    return [
        (0.08, lambda: shelf.add(0.0, 1.0, 0.0)),
        (0.12, lambda: shelf.route(state=RolloutState.SHADOW, challenger=second)),
        (0.20, lambda: shelf.route(state=RolloutState.CANARY, weight=0.05)),
        (0.28, lambda: shelf.route(weight=0.25)),
        (0.36, lambda: shelf.route(weight=0.5)),
        (0.44, lambda: _settle(shelf, second)),
        (0.52, lambda: _settle(shelf, champion)),
        (0.60, replicas.kill_one),
        (0.80, leave),
    ]


def _settle(shelf: Any, version: str) -> None:
    stored = shelf.registry.rollout(shelf.name)
    shelf.registry.write_rollout(stored.settled(version), stored.generation)


def play(home: Path, kind: Any, server_process: Any, rate: float, seconds: float) -> Load:
    """The load, through all that happens; what went wrong in a step is raised."""
    shared = _shared()
    settings = Settings(home=home)
    with Streamer(
        settings.paths.feast, shared.FEATURES, shared.SYMBOLS, shared.random_bars(), 16, SystemClock()
    ) as streamer:
        streamer.materialize("snapshot")
    shelf = shared.ModelShelf(Registry(settings.paths.registry))
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    serving = ServingSettings(model=shelf.name, poll_seconds=0.25, http_port=0, metrics_port=0)
    problems: list[str] = []
    with ExitStack() as stack:
        replicas = kind(settings.model_copy(update={"serving": serving}), stack, server_process)
        client = stack.enter_context(PredictionClient(replicas.urls, shelf.name))
        for sleeve in SLEEVES:
            client.forecast(shared.SYMBOLS, shared.BAR, sleeve)
        load = Load(client, shared.SYMBOLS, shared.BAR, rate, seconds)
        thread = threading.Thread(target=load.run)
        thread.start()
        for share, step in storyline(shelf, replicas, seconds):
            sleep(max(0.0, load.started + share * seconds - monotonic()))
            try:
                step()
            except Exception as error:  # noqa: BLE001 - the load must end before it is told
                problems.append(repr(error))
        thread.join()
    assert problems == []
    return load


def told(load: Load) -> str:
    """The figures of one play."""
    shares = {
        f"p{share:g}": round(float(np.percentile(load.milliseconds, share)), 2) for share in (50, 99, 99.9)
    }
    return json.dumps({"requests": len(load.milliseconds), "errors": len(load.errors), "ms": shares})


def answered_by(load: Load, start: float, end: float) -> set[str]:
    """The versions that answered between two shares of the time."""
    return {version for at, version in load.versions if start <= at / load.seconds < end}


def test_no_forecast_is_lost_whatever_happens_to_models_and_replicas(
    tmp_path: Path, server_process: Any
) -> None:
    """A rollout, a promotion, a rollback, a killed replica and a registry that is away cost no request."""
    load = play(tmp_path, Replicas, server_process, rate=40, seconds=12)
    assert load.errors == [], told(load)
    assert len(load.milliseconds) == 480
    # Each stage was really reached: the champion alone, both, the challenger alone, the champion again.
    assert answered_by(load, 0.0, 0.12) == {"1"}
    assert answered_by(load, 0.42, 0.44) == {"1", "2"}
    assert answered_by(load, 0.49, 0.52) == {"2"}
    assert answered_by(load, 0.60, 1.0) == {"1"}
    assert np.median(load.milliseconds) < 25, told(load)


@pytest.mark.long
@pytest.mark.parametrize("kind", [Replicas, RayReplicas])
def test_a_minute_of_chaos(tmp_path: Path, server_process: Any, kind: Any) -> None:
    """Over 60 s at 100 requests a second there is no error and the 99th percentile stays below 25 ms."""
    load = play(tmp_path, kind, server_process, rate=100, seconds=60)
    print(f"{kind.__name__}: {told(load)}")
    assert load.errors == [], told(load)
    assert answered_by(load, 0.48, 0.52) == {"2"}
    assert answered_by(load, 0.60, 1.0) == {"1"}
    assert np.percentile(load.milliseconds, 99) <= 25, told(load)
