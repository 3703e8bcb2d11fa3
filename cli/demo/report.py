"""Report of the demo, report.json and report.html, from measurements and the journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloop.bars import to_datetime
from alphaloop.settings.settings import Settings
from cli.demo import comparison
from cli.demo.preparation import TrainedModels
from cli.demo.progress import ProgressDisplay
from cli.demo.rollout_history import rollout_rows, rollout_series
from cli.demo.traded_versions import summarize_traded_versions
from features.feature_set import feature_set_of
from loop import audit
from loop.lineage import Lineage, trace_order
from monitoring.drift.calibration import DriftCalibration

if TYPE_CHECKING:
    from cli.demo.replay import ReplayResult
    from features.parity import ParityReport
    from models.registry.card import Card


@dataclass(frozen=True, slots=True)
class DemoResults:
    """Inputs of the report."""

    settings: Settings
    screen: ProgressDisplay
    parity: ParityReport
    models: TrainedModels
    played: ReplayResult
    simulated: ReplayResult


def write_demo_report(results: DemoResults) -> dict[str, Any]:
    """Write report.json and report.html into the run's folder; returns the report."""
    from cli.reports.run_report import render_run_report

    lineage = _lineage(results)
    measured = comparison.compare_with_benchmarks(results.settings, results.played)
    report = build_report(results, measured, lineage)
    series = build_series(results, measured, lineage)
    home = results.settings.paths.home
    (home / "report.json").write_text(json.dumps(report, indent=1, allow_nan=False))
    (home / "report.html").write_text(render_run_report(report, series))
    return report


def build_report(
    results: DemoResults, measured: comparison.BenchmarkComparison, lineage: Lineage
) -> dict[str, Any]:
    """Build the figures of report.json, under the keys that the README names."""
    played, simulated = results.played, results.simulated
    past = played.market.past
    loops = [one.scheduler.loop for one in (played, simulated)]
    latencies = np.concatenate([loop.forecaster.latencies_ms for loop in loops])
    turns = played.scheduler.loop.turns
    bars = played.scheduler.loop.bars()
    features = feature_set_of(results.settings)
    return {
        "data": {
            "source": played.market.source,
            "symbols": list(past.symbols),
            "rows": bars.to_table().num_rows,
            "first": to_datetime(bars.timestamps[0]).date().isoformat(),
            "last": to_datetime(bars.timestamps[-1]).date().isoformat(),
            "snapshot": played.scheduler.loop.duty.snapshot,
        },
        "features": {
            "count": len(features),
            "set_hash": features.hash,
            "parity_max_abs_diff": results.parity.max_abs_diff,
        },
        "models": _models(results),
        "serving": {
            "requests": len(latencies),
            "errors": sum(loop.forecaster.errors for loop in loops),
            "p50_ms": float(np.percentile(latencies, 50)),
            "p99_ms": float(np.percentile(latencies, 99)),
        },
        "trading": {
            "orders": sum(len(turn.outcome.orders) for turn in turns),
            "fills": sum(len(turn.outcome.fills) for turn in turns),
            "net_return": measured.strategy.net_return,
            "sharpe_net": measured.strategy.sharpe_net,
            "equal_weight_sharpe": measured.equal_weight.sharpe_net,
            "momentum_sharpe": measured.momentum.sharpe_net,
            "max_drawdown": measured.strategy.max_drawdown,
            "versions": _versions(results),
        },
        "drift": _drift(results),
        "rollouts": [*rollout_rows(played.scheduler), *rollout_rows(simulated.scheduler)],
        "lineage": {"order_id": lineage.order_id, "verified": lineage.verified},
        "stages": [
            {"name": stage.name, "seconds": round(stage.seconds, 2)}
            for stage in results.screen.stages
            if stage.seconds is not None
        ],
    }


def build_series(
    results: DemoResults, measured: comparison.BenchmarkComparison, lineage: Lineage
) -> dict[str, Any]:
    """Build the series behind the report's charts."""
    looks = results.played.scheduler.loop.watch.looks if results.played.scheduler.loop.watch else []
    loops = [one.scheduler.loop for one in (results.played, results.simulated)]
    return {
        "equity": measured.series(),
        "drift": {
            "dates": [look.as_of.date().isoformat() for look in looks],
            "share": [look.share for look in looks],
            "threshold": DriftCalibration.load(results.settings.locations.drift).share,
            "calibration": DriftCalibration.load(results.settings.locations.drift).summary(),
        },
        "rollouts": [
            *rollout_series(results.played.scheduler),
            *rollout_series(results.simulated.scheduler),
        ],
        "latency_ms": [round(one, 4) for loop in loops for one in loop.forecaster.latencies_ms],
        "walk_forward": {
            f"{trained.card.family} v{trained.version}": [_fold(row) for row in trained.card.walk_forward]
            for trained in results.models.trained
        },
        "lineage": lineage.steps,
        "story": results.screen.events,
        "stages": [{"name": stage.name, "seconds": stage.seconds} for stage in results.screen.stages],
    }


def _fold(row: Mapping[str, Any]) -> dict[str, Any]:
    days = {name: str(row[name])[:10] for name in ("train_first", "train_last", "test_first", "test_last")}
    return {**row, **days, "train": f"{days['train_first']} to {days['train_last']}"}


def _lineage(results: DemoResults) -> Lineage:
    """Trace the order in the middle of all orders, which falls in the middle of the replay."""
    ids = audit.order_ids(results.settings)
    lineage = trace_order(results.settings, ids[len(ids) // 2])
    results.screen.say(
        f"order [cyan]{lineage.order_id}[/]: every link from bar to fill "
        + ("[green]verified[/]" if lineage.verified else "[red]NOT verified[/]")
    )
    return lineage


def _versions(results: DemoResults) -> list[dict[str, Any]]:
    from models.registry.configured_registry import configured_registry

    registry, model = configured_registry(results.settings), results.settings.serving.model
    turns = results.played.scheduler.loop.turns
    bars = ((turn.as_of.isoformat(), turn.outcome.forecasts.values()) for turn in turns)
    return summarize_traded_versions(bars, lambda version: registry.card(model, version).family)


def _models(results: DemoResults) -> list[dict[str, Any]]:
    from models.registry.configured_registry import configured_registry

    registry = configured_registry(results.settings)
    return [
        _model_row(model, version, registry.card(model, version))
        for model in registry.models()
        for version in registry.versions(model)
    ]


def _model_row(model: str, version: str, card: Card) -> dict[str, Any]:
    return {
        "name": model,
        "family": card.family,
        "version": version,
        "digest": card.digest,
        "ic": card.metrics.get("ic"),
        "ic_tstat": card.metrics.get("ic_tstat"),
        "sharpe_net": card.metrics.get("sharpe_net"),
        "active_ir_net": card.metrics.get("active_ir_net"),
        "fidelity_max_abs_diff": card.fidelity.get("max_abs_diff"),
        "gate": {**card.gate, "passed": card.passed, "reasons": list(card.gate.get("reasons", ()))},
        "pipeline_run": card.pipeline_run,
    }


def _drift(results: DemoResults) -> dict[str, Any]:
    watch = results.played.scheduler.loop.watch
    looks = watch.looks if watch else []
    return {
        "alarms": [
            {"date": look.as_of.date().isoformat(), "share": look.share, "features": list(look.drifted)}
            for look in looks
            if look.drift
        ],
        "calibration": DriftCalibration.load(results.settings.locations.drift).summary(),
    }
