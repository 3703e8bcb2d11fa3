"""What an operator may ask of a rollout: its state, a start, a promotion, an abort."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from alphaloop.allocation import AllocationPolicy
from alphaloop.clock import SystemClock
from alphaloop.costs import CostModel
from alphaloop.errors import MissingStateError
from alphaloop.journal.store import Journal
from alphaloop.market import BarPanel, to_datetime
from alphaloop.rollout import Override, RolloutDocument, RolloutKind
from alphaloop.settings import Settings
from control.controller import RolloutController
from control.guards import Guards
from control.policies import rollout_policy
from control.recomputation import Recomputation
from control.transition import CONTROL_STREAM, TRANSITION, Outcome, Transition
from features.sets import feature_set_of
from features.storage.snapshots import SnapshotStore
from models.registry import Registry
from serving.prediction_log import PredictionLogReader


def make_controller(
    settings: Settings, model: str, journal: Journal, registry: Registry
) -> RolloutController:
    """A controller of `model` under the policies that the settings describe."""
    return RolloutController(
        model=model,
        registry=registry,
        journal=journal,
        recomputation=Recomputation(registry, feature_set_of(settings)),
        policy=rollout_policy(settings),
        allocation=AllocationPolicy.from_settings(settings.trading),
        costs=CostModel.from_settings(settings.trading),
        guards=lambda: Guards(settings.rollout.max_latency_ms, settings.rollout.max_staleness_seconds),
        log=lambda: PredictionLogReader(settings.paths.prediction_log, model).new(),
    )


def status(settings: Settings, model: str) -> dict[str, Any]:
    """The document, the evidence so far, what each test still needs, and how earlier rollouts ended."""
    controller, journal = _open(settings, model)
    document = controller.document
    shown: dict[str, Any] = {
        "model": model,
        "champion": document.champion,
        "challenger": document.challenger,
        "state": document.state.value,
        "weight": document.weight,
        "generation": document.generation,
        "kind": document.kind.value,
        "override": asdict(document.override) if document.override else None,
        "started": document.started,
        "history": [
            {
                name: record.body[name]
                for name in ("version", "state", "weight", "outcome", "layer", "reason", "as_of")
            }
            for record in journal.records(CONTROL_STREAM, TRANSITION)
            if record.body["model"] == model
        ],
    }
    if document.challenger is not None:
        rows = PredictionLogReader(settings.paths.prediction_log, model).new()
        ledger = controller.rebuild(rows, _bars(settings))
        shown["evidence"] = ledger.summary()
        shown["bounds_log10_e"] = ledger.bounds()
    return shown


def start(
    settings: Settings,
    model: str,
    version: str,
    *,
    override: Override | None = None,
    kind: RolloutKind = RolloutKind.REAL,
) -> RolloutDocument:
    """Put a version into shadow, from the last known bar on."""
    controller, _ = _open(settings, model)
    return controller.start(version, _last_bar(settings), kind=kind, override=override)


def promote(settings: Settings, model: str, reason: str, by: str) -> Transition:
    """Make the challenger champion by hand; journaled with who and why."""
    controller, _ = _open(settings, model)
    return controller.end(Outcome.PROMOTED, _last_bar(settings), reason=reason, by=by)


def abort(settings: Settings, model: str, reason: str, by: str) -> Transition:
    """Take the challenger out by hand; journaled with who and why."""
    controller, _ = _open(settings, model)
    return controller.end(Outcome.ROLLED_BACK, _last_bar(settings), reason=reason, by=by)


def _open(settings: Settings, model: str) -> tuple[RolloutController, Journal]:
    paths = settings.paths
    if not paths.registry.exists():
        raise MissingStateError(f"no registry in {paths.registry}; `alphaloop train momentum` makes one")
    journal = Journal(paths.journal, paths.anchors, SystemClock())
    return make_controller(settings, model, journal, Registry(paths.registry)), journal


def _bars(settings: Settings) -> BarPanel:
    store = SnapshotStore(settings.paths.snapshots)
    latest = store.latest()
    if latest is None:
        raise MissingStateError(
            f"no snapshot in {settings.paths.snapshots}; `alphaloop features build` makes one"
        )
    return BarPanel.from_table(store.load(latest.id))


def _last_bar(settings: Settings) -> datetime:
    return to_datetime(_bars(settings).timestamps[-1])
