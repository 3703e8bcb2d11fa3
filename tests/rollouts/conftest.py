"""A served universe without a server: bars, a registered champion and challenger, a log to write to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.clock import SystemClock
from alphaloop.settings.settings import Settings, load_settings
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import DEFAULT
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import Registry
from models.training.train import train
from models.training.training_run import TrainingRun
from serving.log.prediction_log import PredictionRow

SYMBOLS = ("AAPL", "BAC", "GE", "JNJ", "KO", "MSFT", "PFE", "WMT")


@dataclass(frozen=True)
class Universe:
    """Bars and their features, a registry with versions 1 (momentum) and 2 (lightgbm), and settings."""

    settings: Settings
    bars: BarPanel
    frame: FeatureFrame
    registry: Registry
    scores: dict[str, np.ndarray]

    def rows(self, index: int, champion: str, challenger: str, *, shift: float = 0.0) -> list[PredictionRow]:
        """What a server would log at one bar; `shift` is added to the challenger's scores."""
        return [
            self.row(index, champion, "champion", self.scores[champion][index]),
            self.row(index, challenger, "shadow", self.scores[challenger][index] + shift),
        ]

    def row(
        self, index: int, version: str, route: str, scores: np.ndarray, error: str | None = None
    ) -> PredictionRow:
        """One logged answer."""
        as_of = to_datetime(self.bars.timestamps[index])
        return PredictionRow(
            prediction_id=f"{index}-{version}",
            logged_at=as_of,
            as_of=as_of,
            feature_timestamp=as_of,
            model=self.settings.serving.model,
            version=version,
            digest="",
            route=route,
            route_keys=("sleeve-00",),
            symbols=self.bars.symbols,
            scores=tuple(scores.tolist()),
            statuses=("ok",) * len(self.bars.symbols),
            features=self.frame.values[index],
            input_hash=f"{index}",
            feature_set=self.frame.feature_set,
            snapshot="",
            generation=1,
            latency_ms=1.0,
            error=error,
        )


@dataclass(frozen=True)
class Trained:
    """A home with a snapshot and two registered versions, and what each version says of every bar."""

    home: Path
    bars: BarPanel
    frame: FeatureFrame
    scores: dict[str, np.ndarray]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Made once; nobody writes to it."""
    from rollouts.evidence.score_parity import ScoreRecomputation

    home = tmp_path_factory.mktemp("control") / "home"
    settings = _settings(home)
    source = find_source("sp500-20")
    span = datetime(2003, 1, 1, tzinfo=UTC), datetime(2014, 12, 31, 23, tzinfo=UTC)
    bars = BarPanel.from_table(source.history(SYMBOLS, *span))
    frame = backfill(bars, DEFAULT)
    snapshot = SnapshotStore(settings.paths.snapshots).save(bars.to_table(), source.name)
    registry = configured_registry(settings)
    for family in ("momentum", "lightgbm"):
        run = TrainingRun(
            model=settings.serving.model,
            family=family,
            bars=bars,
            frame=frame,
            snapshot=snapshot.id,
            strategy=AllocationStrategy(),
            trials=0,
        )
        train(run, registry, settings, SystemClock())
    recomputation = ScoreRecomputation(registry, DEFAULT)
    frames = recomputation.frames(bars)
    model = settings.serving.model
    scores = {
        version: np.stack(
            [recomputation.scores(model, version, frames, index) for index in range(len(frame))]
        )
        for version in ("1", "2")
    }
    for values in scores.values():
        values.setflags(write=False)
    return Trained(home, bars, frame, scores)


@pytest.fixture
def universe(trained: Trained, tmp_path: Path) -> Universe:
    """The universe in a home of the test's own."""
    import shutil

    shutil.copytree(trained.home, tmp_path / "home")
    settings = _settings(tmp_path / "home")
    registry = configured_registry(settings)
    return Universe(settings, trained.bars, trained.frame, registry, trained.scores)


def _settings(home: Path) -> Settings:
    settings = load_settings(home=home)
    training = settings.training.model_copy(update={"folds": 2, "first_test_year": 2010})
    rollout = settings.rollout.model_copy(
        update={"shadow_bars": 2, "stage_bars": 3, "max_bars": 15, "hold_bars": 0}
    )
    return settings.model_copy(update={"training": training, "rollout": rollout})
