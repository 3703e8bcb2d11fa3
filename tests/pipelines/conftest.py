"""A small workspace: bars, a champion, a calibration and a prediction log, all real."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import SystemClock
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument
from alphaloop.settings.settings import Settings, load_settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import DEFAULT
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore
from models.registry.model_registry import Registry
from models.training.train import train
from models.training.training_run import TrainingRun
from monitoring.drift.calibration import fit_calibration_on
from monitoring.retrain_trigger import RETRAIN_REQUEST
from serving.log.prediction_log import PredictionLog, PredictionRow

SYMBOLS = ("AAPL", "BAC", "GE", "JNJ", "KO", "MSFT", "PFE", "WMT")
LAST = datetime(2014, 12, 31, 23, tzinfo=UTC)


def _settings(home: Path) -> Settings:
    settings = load_settings(home=home)
    training = settings.training.model_copy(update={"folds": 2, "first_test_year": 2010})
    return settings.model_copy(update={"training": training})


def _log_predictions(settings: Settings, frame: FeatureFrame, bars: int) -> None:
    log = PredictionLog(settings.paths.prediction_log)
    log.start()
    for index in range(len(frame) - bars, len(frame)):
        as_of = to_datetime(frame.timestamps[index])
        log.put(
            PredictionRow(
                prediction_id=f"p{index}",
                logged_at=as_of,
                as_of=as_of,
                feature_timestamp=as_of,
                model=settings.serving.model,
                version="1",
                digest="",
                route="champion",
                route_keys=("sleeve-00",),
                symbols=frame.symbols,
                scores=tuple(frame.values[index, :, 5].tolist()),
                statuses=("ok",) * len(frame.symbols),
                features=frame.values[index],
                input_hash="",
                feature_set=frame.feature_set,
                snapshot="",
                generation=1,
                latency_ms=1.0,
            )
        )
    log.close()


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Settings of a workspace whose champion is the baseline, with one retrain request journaled."""
    # A path with the words that Kubeflow's local runner rewrites in what it is given.
    settings = _settings(tmp_path_factory.mktemp("pipelines") / "python3 {{desk}}" / "home")
    paths, model = settings.paths, settings.serving.model
    source = find_source("sp500-20")
    bars = BarPanel.from_table(source.history(SYMBOLS, datetime(2003, 1, 1, tzinfo=UTC), LAST))
    frame = backfill(bars, DEFAULT)
    snapshot = SnapshotStore(paths.snapshots).save(bars.to_table(), source.name)
    registry = Registry(paths.registry)
    run = TrainingRun(
        model=model,
        family="momentum",
        bars=bars,
        frame=frame,
        snapshot=snapshot.id,
        strategy=AllocationStrategy(),
        trials=0,
    )
    baseline = train(run, registry, settings, SystemClock())
    registry.write_rollout(RolloutDocument(model=model, champion=baseline.version), None)
    fit_calibration_on(frame, settings.drift).save(paths.drift)
    _log_predictions(settings, frame, bars=30)
    with Journal(paths.journal, paths.anchors, SystemClock()) as journal:
        with journal.writer(CONTROL_STREAM) as writer:
            writer.append(RETRAIN_REQUEST, {"cause_id": "cause-1", "model": model, "family": "lightgbm"})
        yield settings
