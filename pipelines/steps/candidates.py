"""Steps on model versions: train one, and evaluate one anew."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from alphaloop.clock import SystemClock
from alphaloop.errors import FeatureSetMismatchError
from pipelines.run_parameter import settings_of_run
from pipelines.steps.feature_builds import frame_of
from pipelines.steps.step_results import once

if TYPE_CHECKING:
    from alphaloop.settings.settings import Settings
    from models.registry.model_registry import Registry


def train_candidate(settings: str, snapshot: str, model: str, family: str, run: str) -> str:
    """Train and register one version on `snapshot`; returns its number.

    The family's last parameters are used again, because tuning anew on the bars after a crash would fit
    the search to that crash. A version that `run` registered before it was killed is found again.
    """
    chosen = settings_of_run(settings)
    return once(chosen, run, "train_candidate", lambda: _registered(chosen, snapshot, model, family, run))


def evaluate_version(settings: str, snapshot: str, model: str, version: str, run: str) -> str:
    """Evaluate a registered version's family and parameters by walk-forward on `snapshot`.

    Returns the figures as JSON; those of the card stay as they are.

    Raises `FeatureSetMismatchError` for a version of another feature set than that of the settings.
    """
    chosen = settings_of_run(settings)
    return once(chosen, run, "evaluate_version", lambda: _evaluated(chosen, snapshot, model, version))


def _registered(settings: Settings, snapshot: str, model: str, family: str, run: str) -> str:
    from models.registry.configured_registry import configured_registry
    from models.training.train import train
    from models.training.training_run import TrainingRun
    from monitoring.drift.calibration import fit_missing_calibration
    from trading.strategy import configured_strategy

    registry = configured_registry(settings)
    bars, frame = frame_of(settings, snapshot)
    version = _version_of_run(registry, model, run)
    if version is None:
        document = registry.rollout(model)
        training = TrainingRun(
            model=model,
            family=family,
            bars=bars,
            frame=frame,
            snapshot=snapshot,
            strategy=configured_strategy(settings.trading),
            trials=0,
            parameters=_last_parameters(registry, model, family),
            champion=registry.card(model, document.champion) if document else None,
            pipeline_run=run,
        )
        version = train(training, registry, settings, SystemClock()).version
    fit_missing_calibration(frame, settings.drift, settings.locations.drift)
    return version


def _version_of_run(registry: Registry, model: str, run: str) -> str | None:
    if model not in registry.models():
        return None
    for version in reversed(registry.versions(model)):
        if registry.card(model, version).pipeline_run == run:
            return version
    return None


def _evaluated(settings: Settings, snapshot: str, model: str, version: str) -> str:
    from alphaloop.runtime.jsonable import to_jsonable
    from models.evaluation.walk_forward import EvaluationPolicy, walk_forward
    from models.registry.configured_registry import configured_registry
    from models.zoo.registry import find_family
    from trading.strategy import configured_strategy

    card = configured_registry(settings).card(model, version)
    bars, frame = frame_of(settings, snapshot)
    if frame.feature_set != card.feature_set:
        raise FeatureSetMismatchError(
            f"version {version} of '{model}' was trained on feature set {card.feature_set[:12]}, and the "
            f"settings have {frame.feature_set[:12]}; set features.set to that of the version"
        )
    policy = EvaluationPolicy.from_settings(settings, configured_strategy(settings.trading))
    evaluation = walk_forward(
        find_family(card.family), dict(card.parameters), frame, bars.adjusted_close, policy
    )
    return json.dumps(to_jsonable(evaluation.metrics()), sort_keys=True)


def _last_parameters(registry: Registry, model: str, family: str) -> dict[str, Any] | None:
    if model not in registry.models():
        return None
    for version in reversed(registry.versions(model)):
        card = registry.card(model, version)
        if card.family == family:
            return dict(card.parameters)
    return None
