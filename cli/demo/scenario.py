"""The demo's scenario: its stages in order, in the process that the command supervises.

    python -m cli.demo.scenario HOME SCRATCH

`HOME` is the folder of the run's configuration, state and report, `SCRATCH` a folder that the supervisor
removes.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaloop.clock import ReplayClock
from alphaloop.rollout_document import Override, RolloutKind
from alphaloop.runtime import package_roots
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, SINGLE_THREAD_ENVIRONMENT, free_port
from alphaloop.settings.client import ClientSettings
from alphaloop.settings.settings import Settings, load_settings
from cli.demo.preparation import (
    TrainedModels,
    build_features,
    calibrate_drift,
    check_parity,
    load_market,
    train_models,
)
from cli.demo.progress import ProgressDisplay
from cli.demo.replay import ReplayResult, run_replay
from cli.demo.scenario_config import SCENARIO_FILE, ScenarioConfig
from cli.demo.scheduler import PlannedRollout, RolloutScheduler
from loop.turn import ReplayMarket

MIN_REPLAY_DEADLINE_MS = 30_000
"""Shortest time that a replayed bar allows for its forecasts, in milliseconds."""


@dataclass(slots=True)
class Scenario:
    """Scenario of the demo: runs all stages in order."""

    settings: Settings
    scratch: Path
    config: ScenarioConfig
    screen: ProgressDisplay = field(default_factory=ProgressDisplay)

    def run(self) -> dict[str, Any]:
        """Run every stage.

        Returns the report, which is also written to the home of the settings.
        """
        from alphaloop.journal.opening import open_journal
        from cli.demo.report import DemoResults, write_demo_report
        from models.registry.configured_registry import configured_registry

        config = self.config
        clock = ReplayClock(config.go_live)
        with self.screen.stage("data"):
            market = load_market(self.settings, self.screen, config.go_live, config.end)
        with self.screen.stage("features"):
            frame = build_features(self.settings, self.screen, market)
            parity = check_parity(self.settings, self.screen, market)
        with self._ray():
            registry = configured_registry(self.settings)
            journal = open_journal(self.settings, clock)
            with self.screen.stage("training"):
                models = train_models(self.settings, self.screen, market, frame, clock, registry)
            with self.screen.stage("drift calibration"):
                calibrate_drift(self.settings, self.screen, frame)
            with self._serving() as url:
                from loop.wiring import LoopContext

                # This run's server has no TLS or tokens, which the user's client settings may ask for.
                served = self.settings.model_copy(update={"client": ClientSettings(urls=(url,))})
                world = LoopContext(served, clock, journal, registry)
                played = self._play(world, market, models)
                from cli.demo.planted_signal import replay_simulated

                simulated = replay_simulated(world, self.screen, config)
        with self.screen.stage("audit and report"):
            results = DemoResults(self.settings, self.screen, parity, models, played, simulated)
            report = write_demo_report(results)
        return report

    def _play(self, world: Any, market: ReplayMarket, models: TrainedModels) -> ReplayResult:
        from loop.wiring import open_loop

        with (
            self.screen.stage(f"live: {self.config.title}"),
            open_loop(world, market, stream="trading", watched=True) as loop,
        ):
            loop.controller.crown(models.champion)
            loop.on_retraining = lambda request: self.screen.say(
                f"[dim]pipeline 'retraining' runs for cause {request['cause_id']} …[/]"
            )
            scheduler = RolloutScheduler(loop, self.screen, bars=len(market.future))
            scheduler.waiting.extend(
                PlannedRollout(one.version, RolloutKind.REAL)
                for one in models.challengers.values()
                if one.card.passed
            )
            scheduler.sabotages.extend(planned_sabotages(models))
            run_replay(scheduler, market, self.screen)
        return ReplayResult(market, scheduler)

    @contextmanager
    def _ray(self) -> Iterator[None]:
        """Run one local Ray for tuning and serving, with its files in the scratch folder."""
        import ray

        from serving.hosts.ray import ray_environment, start_ray

        folder = self.scratch / "ray"
        folder.mkdir()
        os.environ.update(ray_environment(folder))
        with self.screen.stage("ray"):
            start_ray(folder)
        try:
            yield
        finally:
            ray.shutdown()

    @contextmanager
    def _serving(self) -> Iterator[str]:
        from serving.hosts.ray import RayHost

        with self.screen.stage("serving"):
            host = RayHost(self.settings, grpc_port=free_port())
            url = host.start()
            self.screen.say(f"Ray Serve answers on gRPC [cyan]{url}[/] (Open Inference Protocol)")
        try:
            yield url
        finally:
            host.stop()


def planned_sabotages(models: TrainedModels) -> list[PlannedRollout]:
    """Plan the two sabotages, each started by a named override."""
    faithful = models.challengers["lightgbm"].version
    planned = [
        PlannedRollout(
            faithful,
            RolloutKind.SABOTAGE,
            Override(
                name="drill-rotated-features",
                by="demo",
                reason="this version's live feature vector is rotated by one place; its file is faithful",
                rotate_inputs=1,
            ),
        )
    ]
    if models.leaked is not None:
        planned.append(
            PlannedRollout(
                models.leaked.version,
                RolloutKind.SABOTAGE,
                Override(
                    name="drill-leaked-training",
                    by="demo",
                    reason="trained on features from the future; the gate said no to its splendid card",
                ),
            )
        )
    return planned


def demo_settings(home: Path, config: ScenarioConfig) -> Settings:
    """Load the settings of a demo run: those of the environment, with drills allowed.

    A replayed bar waits longer for its forecasts than a live one, so that the results are those of a quiet
    machine also on a busy one.
    """
    settings = load_settings(home=home)
    patience = max(settings.trading.prediction_deadline_ms, MIN_REPLAY_DEADLINE_MS)
    changes = {
        "serving": settings.serving.model_copy(update={"allow_drills": True}),
        "trading": settings.trading.model_copy(update={"prediction_deadline_ms": patience}),
        **config.settings(settings),
    }
    return settings.model_copy(update=changes)


def _unheard(*_: object, **__: object) -> None:
    """Ignore a warning; vendors' warnings are for their developers."""


def run_scenario(arguments: list[str]) -> int:
    """Run the scenario; returns the exit code."""
    package_roots.require_one_root()
    for name, value in {**QUIET_ENVIRONMENT, **SINGLE_THREAD_ENVIRONMENT}.items():
        os.environ.setdefault(name, value)
    # Vendors replace warning filters when they are imported, so a filter of ours would not last.
    warnings.showwarning = _unheard
    home, scratch = Path(arguments[0]), Path(arguments[1])
    config = ScenarioConfig.from_json((home / SCENARIO_FILE).read_text())
    scenario = Scenario(demo_settings(home, config), scratch, config)
    try:
        with scenario.screen.shown():
            scenario.run()
    except KeyboardInterrupt:
        return 130
    report = os.path.relpath(home.parent / "latest" / "report.html")
    scenario.screen.console.print(f"\nreport: [bold]{report}[/]")
    return 0


if __name__ == "__main__":
    sys.exit(run_scenario(sys.argv[1:]))
