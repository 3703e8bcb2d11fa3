"""A rollout survives `kill -9` of the server that answers it over gRPC, and of its controller."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.errors import ServingError
from alphaloop.rollout_document import RolloutDocument, RolloutState
from alphaloop.runtime.processes import child_environment, free_port
from alphaloop.settings.settings import Settings
from features.feature_set import default_feature_set
from features.store.streamer import Streamer
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import Registry
from serving.client.client import PredictionClient
from serving.log.prediction_log import PredictionLogReader

from .conftest import Universe
from .test_rollouts_kill import BARS, FIRST, LEGAL, PATIENCE, SLEEVES, _begin, _copy, _outcome, run_controller

# Not forked: this process has gRPC's threads.
SPAWN = multiprocessing.get_context("spawn")
WINDOW = 64
SERVE = """
import sys
from alphaloop.settings.settings import Settings
from serving.hosts.process import ProcessHost
host = ProcessHost(Settings.model_validate_json(sys.argv[1]), grpc_port=int(sys.argv[2]))
host.run_forever(lambda url: print(url, flush=True))
"""


class Site:
    """The server and the controller of one home, each in a process that can be killed."""

    def __init__(self, universe: Universe) -> None:
        serving = universe.settings.serving.model_copy(
            update={"poll_seconds": 0.02, "http_port": 0, "metrics_port": 0}
        )
        self.settings: Settings = universe.settings.model_copy(update={"serving": serving})
        self._universe, self.port = universe, free_port()
        self._server: subprocess.Popen[str] | None = None
        self._controller: Any = None

    def __enter__(self) -> Self:
        self.keep()
        return self

    def __exit__(self, *exception: object) -> None:
        for name in ("server", "controller"):
            self.kill(name)

    def keep(self) -> None:
        """Start what does not run: a server that answers, a controller that goes on where it was."""
        if self._controller is None or self._controller.exitcode == -signal.SIGKILL:
            self._controller = SPAWN.Process(target=run_controller, args=(self._universe, None))
            self._controller.start()
        if self._server is None or self._server.poll() is not None:
            command = [sys.executable, "-c", SERVE, self.settings.model_dump_json(), str(self.port)]
            environment = child_environment()
            self._server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            assert self._server.stdout is not None
            assert self._server.stdout.readline(), "the server does not start"

    def kill(self, name: str) -> bool:
        """Kill one of the two with no warning; whether it lived."""
        if name == "controller":
            lived = bool(self._controller.is_alive())
            self._controller.kill()
            self._controller.join()
            return lived
        assert self._server is not None
        lived = self._server.poll() is None
        with self._server as server:
            server.kill()
        return lived

    def finish(self) -> None:
        """Wait until the controller has ended the rollout."""
        self._controller.join(PATIENCE)
        assert self._controller.exitcode == 0


def _play(universe: Universe, kills: dict[tuple[int, int], str]) -> int:
    """Ask for every sleeve at every bar, killing before the requests that are told; returns how many died."""
    begun = SPAWN.Process(target=_begin, args=(universe,))
    begun.start()
    begun.join()
    settings, bars, killed = universe.settings, universe.bars, 0
    model, registry = settings.serving.model, configured_registry(settings)
    history = bars.between(end=to_datetime(bars.timestamps[FIRST]))
    with ExitStack() as stack:
        streamer = stack.enter_context(
            Streamer(
                settings.paths.feast, default_feature_set(), bars.symbols, history, WINDOW, SystemClock()
            )
        )
        streamer.materialize("snapshot")
        site = stack.enter_context(Site(universe))
        client = stack.enter_context(PredictionClient(f"127.0.0.1:{site.port}", model))
        logged, seen = PredictionLogReader(settings.paths.prediction_log, model), set()
        for number in range(BARS):
            bar = bars.at(FIRST + 1 + number)
            streamer.publish(bar, "snapshot")
            if _document(registry, model).state is RolloutState.STEADY:
                break
            deadline = monotonic() + PATIENCE
            asked = 0
            while bar.timestamp not in seen:
                assert monotonic() < deadline, f"bar {number} is not answered and logged"
                if asked < len(SLEEVES):
                    name = kills.pop((number, asked), None)
                    if name is not None and site.kill(name):
                        killed += 1
                        _require_legal(registry, model)
                    try:
                        client.forecast(bars.symbols, bar.timestamp, SLEEVES[asked])
                        asked += 1
                    except ServingError:
                        # What was answered may not have been logged: the bar is asked for anew.
                        site.keep()
                        asked = 0
                else:
                    sleep(0.02)
                    seen |= {row.as_of for row in logged.new()}
            site.keep()
        site.finish()
    return killed


def _document(registry: Registry, model: str) -> RolloutDocument:
    document = registry.rollout(model)
    assert document is not None
    return document


def _require_legal(registry: Registry, model: str) -> None:
    document = _document(registry, model)
    assert (document.state, document.weight) in LEGAL
    assert (document.challenger is None) is (document.state is RolloutState.STEADY)


def _moments(seed: int, count: int) -> dict[tuple[int, int], str]:
    rng = np.random.default_rng(seed)
    places = rng.choice(14 * len(SLEEVES), size=count, replace=False)
    return {divmod(int(one), len(SLEEVES)): str(rng.choice(["server", "controller"])) for one in places}


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_rollout_survives_fifty_kills_of_the_real_server_and_controller(
    universe: Universe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rollout, asked for over gRPC and killed a dozen times at seeded moments, ends as without any."""
    # Children that are not forked find the tests by name.
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    universe = replace(universe, scores={})
    calm, killed, seed = _copy(universe, tmp_path / "calm"), 0, 0
    assert _play(calm, {}) == 0
    expected = _outcome(calm.settings)
    assert [step["state"] for step in expected[1]] == ["steady", "shadow", *["canary"] * 3, "steady"]
    while killed < 50:
        assert seed < 8, f"only {killed} processes lived to be killed"
        stormy = _copy(universe, tmp_path / f"stormy-{seed}")
        killed += _play(stormy, _moments(seed, 13))
        assert _outcome(stormy.settings) == expected
        seed += 1
