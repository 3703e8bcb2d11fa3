"""Steps of the pipelines as plain functions of strings, as Kubeflow passes them.

`settings` is the JSON of `alphaloop.settings.settings.Settings`, so that a step in another process or pod
runs under exactly the settings of the request.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.clock import SystemClock
from alphaloop.errors import MissingStateError
from alphaloop.journal.opening import open_journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, CANDIDATE_REFUSED, PIPELINE_STREAM
from alphaloop.settings.settings import Settings, settings_from_json

if TYPE_CHECKING:
    from models.registry.model_registry import Registry

CANDIDATE_SUPERSEDED = "candidate.superseded"
"""A conclusion of a cause that has one by another run; the first one counts."""
CONCLUSIONS = (CANDIDATE_PROPOSED, CANDIDATE_REFUSED)


def freeze_snapshot(settings: str) -> str:
    """Return the id of the newest snapshot of the settings' source, used by every later step of the run.

    Raises `MissingStateError` where there is no snapshot.
    """
    from marketdata.configured_source import newest_snapshot

    chosen = settings_from_json(settings)
    latest = newest_snapshot(chosen)
    if latest is None:
        raise MissingStateError(
            f"no snapshot of '{chosen.data.source}' in {chosen.locations.snapshots}; "
            "`alphaloop features build` makes one"
        )
    return latest.id


def drift_report(settings: str, model: str, run: str) -> str:
    """Write Evidently's report on the last bars of the prediction log.

    Returns its path.

    Raises `MissingStateError` where no prediction is logged yet.
    """
    from models.registry.configured_registry import configured_registry
    from monitoring.drift.calibration import DriftCalibration
    from monitoring.drift.drift_monitor import write_drift_report
    from monitoring.drift_check import live_features, universe_lookup
    from serving.log.prediction_log import PredictionLogReader

    chosen = settings_from_json(settings)
    rows = PredictionLogReader(chosen.locations.prediction_log, model, by_symbols=True).new()
    universe_of = universe_lookup(configured_registry(chosen), model)
    found = live_features(rows, universe_of)
    logged = [(features, made) for _, features, made in found if features is not None]
    if not logged:
        raise MissingStateError(
            f"no prediction of '{model}' is logged in {chosen.locations.prediction_log} yet"
        )
    newest = logged[-1][1]
    path = chosen.paths.drift / f"{run}.html"
    try:
        calibration = DriftCalibration.load(chosen.locations.drift, newest)
    except MissingStateError as error:
        # A report that cannot be made is no reason to train nothing.
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"<p>{escape(str(error))}</p>\n", encoding="utf-8")
        return str(path)
    seen = [features for features, made in logged if made == newest][-calibration.window :]
    write_drift_report(calibration, np.concatenate(seen), path)
    return str(path)


def train_candidate(settings: str, snapshot: str, model: str, family: str, run: str) -> str:
    """Train and register one version on `snapshot`; returns its number.

    A version that an earlier attempt of the same run registered is returned, not trained again. The family's
    last parameters are used again, because tuning anew on the bars after a crash would fit the search to that
    crash.
    """
    from features.compute.batch import backfill
    from features.feature_set import feature_set_of
    from marketdata.storage.snapshots import SnapshotStore
    from models.registry.configured_registry import configured_registry
    from models.training.train import train
    from models.training.training_run import TrainingRun
    from monitoring.drift.calibration import fit_missing_calibration
    from trading.strategy import configured_strategy

    chosen = settings_from_json(settings)
    registry = configured_registry(chosen)
    done = _version_of_run(registry, model, run)
    if done is not None:
        return done
    bars = BarPanel.from_table(SnapshotStore(chosen.locations.snapshots).load(snapshot))
    document = registry.rollout(model)
    frame = backfill(bars, feature_set_of(chosen))
    training = TrainingRun(
        model=model,
        family=family,
        bars=bars,
        frame=frame,
        snapshot=snapshot,
        strategy=configured_strategy(chosen.trading),
        trials=0,
        parameters=_last_parameters(registry, model, family),
        champion=registry.card(model, document.champion) if document else None,
        pipeline_run=run,
    )
    trained = train(training, registry, chosen, SystemClock())
    fit_missing_calibration(frame, chosen.drift, chosen.locations.drift)
    return trained.version


def gate_verdict(settings: str, model: str, version: str) -> str:
    """Return the gate's verdict from the version's card, `passed` or `refused`."""
    from models.registry.configured_registry import configured_registry

    return (
        "passed"
        if configured_registry(settings_from_json(settings)).card(model, version).passed
        else "refused"
    )


def propose(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal a proposal to roll out a version that passed its gate.

    Returns the record's hash.
    """
    return _conclude(settings_from_json(settings), CANDIDATE_PROPOSED, cause_id, model, version, run)


def refuse(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal the gate's refusal of a version, with the reasons.

    Returns the record's hash.
    """
    return _conclude(settings_from_json(settings), CANDIDATE_REFUSED, cause_id, model, version, run)


def _conclude(settings: Settings, kind: str, cause_id: str, model: str, version: str, run: str) -> str:
    from models.registry.configured_registry import configured_registry

    card = configured_registry(settings).card(model, version)
    journal = open_journal(settings, SystemClock())
    earlier = [journal.find(PIPELINE_STREAM, one, cause_id=cause_id) for one in CONCLUSIONS]
    if any(one is not None and one.body["pipeline_run"] != run for one in earlier):
        kind = CANDIDATE_SUPERSEDED
    record = journal.append(
        PIPELINE_STREAM,
        kind,
        {
            "cause_id": cause_id,
            "model": model,
            "version": version,
            "family": card.family,
            "digest": card.digest,
            "snapshot": card.snapshot,
            "pipeline_run": run,
            "reasons": list(card.gate.get("reasons", ())),
        },
        unique="pipeline_run",
    )
    return record.hash


def _version_of_run(registry: Registry, model: str, run: str) -> str | None:
    """Find the version that pipeline run `run` registered."""
    if model not in registry.models():
        return None
    newest_first = reversed(registry.versions(model))
    return next((one for one in newest_first if registry.card(model, one).pipeline_run == run), None)


def _last_parameters(registry: Registry, model: str, family: str) -> dict[str, Any] | None:
    for version in reversed(registry.versions(model)):
        card = registry.card(model, version)
        if card.family == family:
            return dict(card.parameters)
    return None
