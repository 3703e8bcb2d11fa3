"""Preparation before the first live bar: data, features, models and drift calibration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import Clock
from alphaloop.settings.settings import Settings
from cli.demo.progress import ProgressDisplay
from loop.turn import ReplayMarket

if TYPE_CHECKING:
    from features.compute.batch import FeatureFrame
    from features.parity import ParityReport
    from models.registry.model_registry import Registry
    from models.training.train import TrainedModel


@dataclass(slots=True)
class TrainedModels:
    """Models trained before the live part: the champion, its challengers and the drill's leaked model."""

    champion: str
    challengers: dict[str, TrainedModel]
    leaked: TrainedModel | None
    trained: list[TrainedModel]


def load_market(
    settings: Settings, screen: ProgressDisplay, go_live: datetime, end: datetime | None
) -> ReplayMarket:
    """Read, check and snapshot the bars before `go_live`; later bars are replayed."""
    from marketdata.configured_source import chosen_start
    from marketdata.quality.cleaning import clean_bars
    from marketdata.quality.quality_report import write_quality_report
    from marketdata.source import identity_of
    from marketdata.sources.registry import find_source
    from marketdata.storage.snapshots import SnapshotStore

    source = find_source(settings.data.source)
    table = source.history(settings.data.symbols or source.symbols(), chosen_start(settings), end)
    cleaned = clean_bars(table, source.calendar, source.name)
    bars = BarPanel.from_table(cleaned.table)
    past = bars.between(end=go_live)
    future = bars.between(start=to_datetime(bars.timestamps[len(past)]))
    store = SnapshotStore(settings.locations.snapshots)
    snapshot = store.save(past.to_table(), identity_of(source))
    write_quality_report(store.objects, snapshot.id, cleaned)
    screen.say(
        f"[bold]{source.name}[/]: {len(bars.symbols)} symbols, {len(past):,} bars to learn from, "
        f"{len(future):,} to come; clean; snapshot [cyan]{snapshot.id[:12]}[/]"
    )
    return ReplayMarket(source.name, past, future, snapshot)


def build_features(settings: Settings, screen: ProgressDisplay, market: ReplayMarket) -> FeatureFrame:
    """Compute the features of the past and write them to Feast's offline store."""
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from features.store.feature_store import FeatureStore

    chosen = feature_set_of(settings)
    frame = backfill(market.past, chosen)
    store = FeatureStore.from_settings(settings)
    store.apply()
    store.write_offline(frame)
    screen.say(
        f"{len(chosen)} features, set [cyan]{chosen.hash[:12]}[/], applied and written to Feast's "
        "offline store"
    )
    return frame


def check_parity(
    settings: Settings, screen: ProgressDisplay, market: ReplayMarket, bars: int = 40
) -> ParityReport:
    """Compare backfill, stream and online store on the last bars of the past."""
    from features.feature_set import feature_set_of
    from features.parity import measure_parity

    report = measure_parity(settings.paths.home / "parity", market.past, feature_set_of(settings), bars)
    screen.say(
        f"parity of backfill, stream and online store over {bars} bars: "
        f"largest difference [bold]{report.max_abs_diff:g}[/]"
    )
    return report


def train_models(
    settings: Settings,
    screen: ProgressDisplay,
    market: ReplayMarket,
    frame: FeatureFrame,
    clock: Clock,
    registry: Registry,
) -> TrainedModels:
    """Train the baseline, its challengers and the model with leaked data for the drill."""
    model = settings.serving.model
    baseline = _train(settings, screen, market, frame, clock, registry, "momentum", trials=0)
    trained = [baseline]
    challengers = {}
    for family in ("lightgbm", "transformer"):
        trials = settings.training.trials if family == "lightgbm" else settings.training.trials // 2
        challengers[family] = _train(
            settings, screen, market, frame, clock, registry, family, trials=trials, champion=baseline.card
        )
        trained.append(challengers[family])
    leaked = _train(
        settings, screen, market, frame, clock, registry, "lightgbm",
        trials=0, champion=baseline.card, leak=settings.training.horizon,
        parameters=dict(challengers["lightgbm"].card.parameters),
    )  # fmt: skip
    trained.append(leaked)
    screen.say(f"the baseline is champion of '{model}': version {baseline.version}")
    return TrainedModels(baseline.version, challengers, leaked, trained)


def calibrate_drift(settings: Settings, screen: ProgressDisplay, frame: FeatureFrame) -> None:
    """Fix the drift monitor's thresholds on the training years."""
    from monitoring.drift.calibration import fit_calibration_on

    calibration = fit_calibration_on(frame, settings.drift)
    calibration.save(settings.locations.drift)
    screen.say(
        f"drift: Wasserstein over {calibration.window} bars; an alarm is {calibration.share:.0%} of "
        f"features beyond their own limits ({calibration.false_alarms} episodes in "
        f"{calibration.years:.1f} training years)"
    )


def _train(
    settings: Settings,
    screen: ProgressDisplay,
    market: ReplayMarket,
    frame: FeatureFrame,
    clock: Clock,
    registry: Registry,
    family: str,
    **arguments: Any,
) -> TrainedModel:
    from models.training.train import train
    from models.training.training_run import TrainingRun
    from trading.strategy import configured_strategy

    run = TrainingRun(
        model=settings.serving.model,
        family=family,
        bars=market.past,
        frame=frame,
        snapshot=market.snapshot.id,
        strategy=configured_strategy(settings.trading),
        **arguments,
    )
    trained = train(run, registry, settings, clock, lambda text: screen.figure("training", text))
    screen.say(verdict_line(trained, leaked=bool(arguments.get("leak"))))
    return trained


def verdict_line(trained: TrainedModel, *, leaked: bool = False) -> str:
    """Format one line on a trained version: its figures and the gate's verdict."""
    card = trained.card
    name = f"{card.family}{' [magenta](drill: trained with a leak)[/]' if leaked else ''}"
    figures = (
        f"IC {card.metric('ic'):+.4f} (t {card.metric('ic_tstat'):.1f}, p {card.metric('ic_pvalue'):.3f}), "
        f"net Sharpe {card.metric('sharpe_net'):.2f}, net active IR {card.metric('active_ir_net'):+.2f}"
    )
    reasons = "; ".join(card.gate.get("reasons", ()))
    verdict = "[green]gate: passed[/]" if card.passed else f"[yellow]gate: refused[/] — {reasons}"
    return f"v{trained.version} [bold]{name}[/]: {figures}; {verdict}"
