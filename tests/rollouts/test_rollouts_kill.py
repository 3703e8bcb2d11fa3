"""A rollout survives `kill -9` of its controller and its server at any moment, and ends the same."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock, monotonic, sleep
from alphaloop.journal.anchors import AnchorFile
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.journal.verification import verify_journal
from alphaloop.rollout_document import Override, RolloutState
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import plan_sleeves, sleeve_names
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import Registry
from rollouts import operations
from rollouts.controller import RolloutController
from rollouts.transition import ROLLOUT_TRANSITION
from serving.log.prediction_log import PredictionLog, PredictionLogReader, PredictionRow

from .conftest import Universe

FIRST, BARS = 2_500, 18
SLEEVES = sleeve_names(20)
MOMENTS_OF_CONTROLLER, MOMENTS_OF_SERVER = 60, 36
PATIENCE = 60.0
DRILL = Override(name="drill", by="test", reason="to see it survive")
InChild = Callable[..., Any]
LEGAL = {
    (RolloutState.STEADY, 0.0),
    (RolloutState.SHADOW, 0.0),
    (RolloutState.CANARY, 0.05),
    (RolloutState.CANARY, 0.25),
    (RolloutState.CANARY, 0.5),
}


class Doom:
    """Counts the moments of a process and kills it, as the kernel would, at the one that it was told."""

    def __init__(self, at: int | None) -> None:
        self._at, self._seen = at, 0

    def moment(self) -> None:
        self._seen += 1
        if self._seen == self._at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str) -> None:
        """Make the start and the end of a method moments."""
        inner = getattr(owner, name)

        def watched(*given: Any, **named: Any) -> Any:
            self.moment()
            result = inner(*given, **named)
            self.moment()
            return result

        setattr(owner, name, watched)


def _controller(settings: Settings) -> RolloutController:
    paths = settings.paths
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    return operations.make_controller(
        settings, settings.serving.model, journal, configured_registry(settings)
    )


def run_controller(universe: Universe, doom: int | None) -> None:
    """What a controller's process does: go on where the last one died, then follow the log to the end."""
    death, model = Doom(doom), universe.settings.serving.model
    # Before the commit and after it, before and after each of the copies.
    death.around(AnchorFile, "announce")
    death.around(AnchorFile, "append")
    death.around(Journal, "publish_document")
    death.around(Registry, "copy_rollout")
    death.around(Registry, "_derive_aliases")
    controller = _controller(universe.settings)
    reader = PredictionLogReader(universe.settings.paths.prediction_log, model)
    rows = reader.new()
    controller.catch_up(rows, universe.bars)
    done = max((row.as_of for row in rows if row.as_of is not None), default=None)
    while controller.document.state is not RolloutState.STEADY:
        fresh = reader.new()
        for as_of in sorted({row.as_of for row in fresh if row.as_of is not None}):
            death.moment()
            if done is None or as_of > done:
                there = [row for row in fresh if row.as_of == as_of]
                controller.on_bar(as_of, there, universe.bars.between(end=as_of))
                done = as_of
        sleep(0.005)


def run_server(universe: Universe, doom: int | None) -> None:
    """What a server's process does: route each bar by the document, and log every answer and the shadow's."""
    death, settings = Doom(doom), universe.settings
    model, folder = settings.serving.model, settings.paths.prediction_log
    registry, logged = configured_registry(settings), PredictionLogReader(folder, model)
    done = max((row.as_of for row in logged.new() if row.as_of is not None), default=None)
    log = PredictionLog(folder)
    log.start()
    for index in range(FIRST + 1, FIRST + 1 + BARS):
        as_of = to_datetime(universe.bars.timestamps[index])
        if done is not None and as_of <= done:
            continue
        death.moment()
        document = registry.rollout(model)
        if document is None or document.challenger is None:
            break
        plan = plan_sleeves(document, SLEEVES)
        for row in _answers(universe, index, document.champion, document.challenger, plan.version):
            log.put(row)
        death.moment()
        _wait_until(lambda as_of=as_of: any(row.as_of == as_of for row in logged.new()))
    log.close()


def _answers(
    universe: Universe, index: int, champion: str, challenger: str, version_of: Callable[[str], str]
) -> list[PredictionRow]:
    """Twenty answers by the plan, and one of each version besides, as the shadow gives."""
    answers = [
        universe.row(index, version_of(one), "canary", universe.scores[version_of(one)][index])
        for one in SLEEVES
    ]
    return [*answers, *universe.rows(index, champion, challenger)]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"waited {PATIENCE:g} s in vain")
        sleep(0.002)


def _begin(universe: Universe) -> None:
    controller = _controller(universe.settings)
    controller.crown("1")
    controller.start("2", to_datetime(universe.bars.timestamps[FIRST]), override=DRILL)


def _outcome(settings: Settings) -> tuple[str, list[dict[str, Any]], dict[str, str]]:
    """The document, every transition and the aliases, of which nothing may depend on the clock."""
    from mlflow import MlflowClient

    paths, model = settings.paths, settings.serving.model
    registry = configured_registry(settings)
    document = registry.rollout(model)
    assert document is not None
    aliases = MlflowClient(registry.uri, registry.uri).get_registered_model(model).aliases
    with Journal(paths.journal, paths.anchors, SystemClock()) as journal:
        steps = [record.body for record in journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)]
    assert all(chain.ok for chain in verify_journal(paths.journal, paths.anchors))
    return document.to_json(), json.loads(json.dumps(steps, default=str)), {**aliases}


@pytest.fixture
def in_child(clean_fork: Any) -> InChild:
    """Starts a function in a process of its own."""

    def start(target: Callable[..., None], *arguments: Any) -> Any:
        child = clean_fork.Process(target=target, args=arguments)
        child.start()
        return child

    return start


def _play(in_child: InChild, universe: Universe, kills: list[tuple[str, int]]) -> int:
    """Run both processes to the end, killing and starting again as told; returns how many were killed."""
    runners = {"controller": run_controller, "server": run_server}
    waiting = {name: [moment for victim, moment in kills if victim == name] for name in runners}

    def start(name: str) -> Any:
        return in_child(runners[name], universe, waiting[name].pop(0) if waiting[name] else None)

    begun = in_child(_begin, universe)
    begun.join()
    running, killed = {name: start(name) for name in runners}, 0
    deadline = monotonic() + PATIENCE * (len(kills) + 1)
    try:
        while running:
            assert monotonic() < deadline, "the rollout does not end"
            for name, process in list(running.items()):
                process.join(0.01)
                if process.exitcode is None:
                    continue
                assert process.exitcode in (0, -signal.SIGKILL), f"{name} ended with {process.exitcode}"
                del running[name]
                if process.exitcode:
                    killed += 1
                    _require_legal(in_child, universe.settings)
                    running[name] = start(name)
    finally:
        for process in running.values():
            process.kill()
            process.join()
    return killed


def look(settings: Settings, end: Any) -> None:
    """Say how the rollout stands."""
    document = configured_registry(settings).rollout(settings.serving.model)
    assert document is not None
    end.send((document.state, document.weight, document.challenger))


def _require_legal(in_child: InChild, settings: Settings) -> None:
    pipe, end = multiprocessing.Pipe(duplex=False)
    child = in_child(look, settings, end)
    assert pipe.poll(PATIENCE)
    state, weight, challenger = pipe.recv()
    child.join()
    assert (state, weight) in LEGAL
    assert (challenger is None) is (state is RolloutState.STEADY)


def _copy(universe: Universe, home: Path) -> Universe:
    import shutil

    shutil.copytree(universe.settings.home, home)
    settings = Settings(home=home, training=universe.settings.training, rollout=universe.settings.rollout)
    return replace(universe, settings=settings, registry=configured_registry(settings))


def _moments(seed: int, count: int) -> list[tuple[str, int]]:
    rng = np.random.default_rng(seed)
    names = ["controller" if rng.random() < 0.7 else "server" for _ in range(count)]
    most = {"controller": MOMENTS_OF_CONTROLLER, "server": MOMENTS_OF_SERVER}
    return [(name, int(rng.integers(1, most[name] // 4))) for name in names]


def _prove_same(in_child: InChild, calm: Universe, stormy: Universe, kills: list[tuple[str, int]]) -> int:
    """Play `stormy` with kills; it must end as `calm` did. Returns how many were killed."""
    killed = _play(in_child, stormy, kills)
    expected, found = _outcome(calm.settings), _outcome(stormy.settings)
    assert found == expected
    assert [step["state"] for step in found[1]] == ["steady", "shadow", *["canary"] * 3, "steady"]
    generations = [step["generation"] for step in found[1]]
    assert generations == list(range(1, len(generations) + 1)), "a transition is missing or there twice"
    return killed


def test_a_rollout_whose_processes_are_killed_ends_the_same(
    universe: Universe, tmp_path: Path, in_child: InChild
) -> None:
    """After a handful of kills at seeded moments the document and every transition are as without any."""
    calm, stormy = _copy(universe, tmp_path / "calm"), _copy(universe, tmp_path / "stormy")
    assert _play(in_child, calm, []) == 0
    assert _prove_same(in_child, calm, stormy, _moments(seed=3, count=5)) >= 3


@pytest.mark.long
@pytest.mark.timeout(1_200)
def test_rollouts_survive_fifty_kills(universe: Universe, tmp_path: Path, in_child: InChild) -> None:
    """Fifty kills at seeded moments, most while something is written: each rollout ends as without any."""
    calm, killed, seed = _copy(universe, tmp_path / "calm"), 0, 100
    assert _play(in_child, calm, []) == 0
    while killed < 50:
        assert seed < 130, f"only {killed} processes lived to be killed"
        stormy = _copy(universe, tmp_path / f"stormy-{seed}")
        killed += _prove_same(in_child, calm, stormy, _moments(seed=seed, count=14))
        seed += 1


def test_two_controllers_at_once_do_no_harm(universe: Universe, tmp_path: Path, in_child: InChild) -> None:
    """Both run the same rollout; every transition happens once, and it ends as with one."""
    alone, both = _copy(universe, tmp_path / "alone"), _copy(universe, tmp_path / "both")
    assert _play(in_child, alone, []) == 0
    begun = in_child(_begin, both)
    begun.join()
    processes = [in_child(run_controller, both, None) for _ in range(2)]
    processes.append(in_child(run_server, both, None))
    for process in processes:
        process.join(PATIENCE)
        assert process.exitcode == 0
    assert _outcome(both.settings) == _outcome(alone.settings)
