"""Simulated universe with a planted signal, which the challenger finds and the baseline does not.

On real data an honest challenger is rarely promoted within a year. Here the truth is known, so the demo can
show a promotion. Everything is labelled as simulated.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.rollout_document import Override, RolloutKind
from alphaloop.settings.settings import Settings
from cli.demo.preparation import verdict_line
from cli.demo.progress import ProgressDisplay
from cli.demo.scenario_config import ScenarioConfig
from cli.demo.scheduler import PlannedRollout, RolloutScheduler
from loop.turn import ReplayMarket

if TYPE_CHECKING:
    from cli.demo.replay import ReplayResult
    from loop.wiring import LoopContext
    from models.training.train import TrainedModel

MODEL = "simulated"
TRADING_STREAM = "trading-simulated"


def replay_simulated(world: LoopContext, screen: ProgressDisplay, config: ScenarioConfig) -> ReplayResult:
    """Train a baseline and a challenger on simulated bars, and let the controller decide between them."""
    from cli.demo.replay import ReplayResult, run_replay
    from loop.wiring import LoopContext, open_loop

    settings = world.settings.model_copy(
        update={
            "serving": world.settings.serving.model_copy(update={"model": MODEL}),
            "rollout": world.settings.rollout.model_copy(update={"max_bars": config.simulated_bars}),
            "training": world.settings.training.model_copy(update={"first_test_year": 2017, "folds": 2}),
        }
    )
    with screen.stage("simulated universe"):
        market = _market(settings, config)
        clock = type(world.clock)(to_datetime(market.past.timestamps[-1]))
        simulated = LoopContext(settings, clock, world.journal, world.registry)
        baseline, challenger = _train(simulated, market, screen)
        with open_loop(simulated, market, stream=TRADING_STREAM, watched=False) as loop:
            loop.controller.crown(baseline)
            scheduler = RolloutScheduler(loop, screen, bars=len(market.future))
            scheduler.waiting.append(challenger)
            run_replay(scheduler, market, screen, until_decided=True)
    return ReplayResult(market, scheduler)


def _market(settings: Settings, config: ScenarioConfig) -> ReplayMarket:
    from marketdata.source import identity_of
    from marketdata.sources.registry import find_source
    from marketdata.storage.snapshots import SnapshotStore

    source = find_source("simulated")
    bars = BarPanel.from_table(source.history(source.symbols()))
    split = to_datetime(bars.timestamps[config.simulated_training_bars - 1])
    last: datetime = to_datetime(bars.timestamps[config.simulated_training_bars + config.simulated_bars - 1])
    past = bars.between(end=split)
    future = bars.between(start=to_datetime(bars.timestamps[len(past)]), end=last)
    snapshot = SnapshotStore(settings.locations.snapshots).save(past.to_table(), identity_of(source))
    return ReplayMarket(source.name, past, future, snapshot)


def _train(world: LoopContext, market: ReplayMarket, screen: ProgressDisplay) -> tuple[str, PlannedRollout]:
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from models.training.train import train
    from models.training.training_run import TrainingRun
    from trading.strategy import configured_strategy

    frame = backfill(market.past, feature_set_of(world.settings))
    settings = world.settings
    versions: dict[str, TrainedModel] = {}
    for family in ("momentum", "lightgbm"):
        run = TrainingRun(
            model=MODEL,
            family=family,
            bars=market.past,
            frame=frame,
            snapshot=market.snapshot.id,
            strategy=configured_strategy(settings.trading),
            trials=0,
            champion=versions["momentum"].card if versions else None,
        )
        trained = train(run, world.registry, settings, world.clock)
        versions[family] = trained
        screen.say("[blue]simulated[/] " + verdict_line(trained))
    challenger = versions["lightgbm"]
    override = None
    if not challenger.card.passed:
        override = Override(
            name="simulated-universe",
            by="demo",
            reason="the planted signal is known to be there; the gate rightly finds it too good to be true",
        )
    return versions["momentum"].version, PlannedRollout(challenger.version, RolloutKind.SIMULATED, override)
