"""The model that all servers serve, and the bars it learned from."""

from __future__ import annotations

import numpy as np

from alphaloop.bars import BarPanel, to_datetime64
from alphaloop.clock import SystemClock
from alphaloop.rollout_document import RolloutDocument
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import sleeve_names
from features.compute.batch import backfill
from features.feature_set import FeatureSet, default_feature_set
from models.dataset import Dataset
from models.labels import forward_returns
from models.onnx.export import export_onnx
from models.registry.card import Card
from models.registry.configured_registry import configured_registry
from models.zoo.registry import find_family

MODEL = "equities"
SYMBOLS = tuple(f"S{number:02d}" for number in range(20))
SLEEVES = sleeve_names(20)
FEATURES = FeatureSet(
    (*default_feature_set().names, *(f"rsi_{length} = rsi({length})" for length in (5, 7, 9, 21, 28, 35)))
)
HISTORY, LOOKBACK, HORIZON, WIDTH = 700, 16, 5, 32


def random_bars(count: int) -> BarPanel:
    """Closes of a random walk."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, (count, len(SYMBOLS))), axis=0))
    first = to_datetime64(SystemClock().now().replace(year=2010, month=1, day=4, hour=21, minute=0, second=0))
    times = first.astype("datetime64[s]") + np.arange(count).astype("timedelta64[D]")
    nothing = np.full_like(close, np.nan)
    return BarPanel(
        timestamps=times.astype("datetime64[ns]"), symbols=SYMBOLS, open=nothing, high=nothing, low=nothing,
        close=close, volume=nothing, adjustment=np.ones_like(close),
    )  # fmt: skip


def register(settings: Settings, history: BarPanel) -> bytes:
    """A transformer that learned from noise, as champion: what it knows does not matter here."""
    frame, labels = backfill(history, FEATURES), forward_returns(history.adjusted_close, HORIZON)
    family = find_family("transformer")
    chosen = family.default_parameters() | {"width": WIDTH, "epochs": 1}
    exported = export_onnx(family.fit(Dataset(frame, labels, HORIZON, range(260, len(history))), chosen, 1))
    card = Card(
        model=MODEL, family=family.name, parameters={}, feature_set=FEATURES.hash, features=FEATURES.names,
        inputs=("panel",), lookback=family.lookback, horizon=HORIZON, score_kind=family.score_kind,
        cross_sectional=False, snapshot="bench", train_first="", train_last="", pipeline_run=None,
        code_revision="bench", seed=1, walk_forward=(), metrics={}, ranges={}, fidelity={},
        gate={"passed": True}, digest=exported.digest, created_at="",
    )  # fmt: skip
    registry = configured_registry(settings)
    registry.write_rollout(RolloutDocument(MODEL, registry.register(MODEL, exported.onnx, card)), None)
    return exported.onnx
