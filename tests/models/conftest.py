"""What the tests of models share: a tiny ONNX file and its card, and a small made-up market."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from alphaloop.settings.settings import Settings
from alphaloop.settings.training import TrainingSettings
from features.compute.batch import FeatureFrame
from models.registry.card import Card


def make_onnx(weight: float = 1.0) -> bytes:
    """A graph that sums the panel, times `weight`."""
    from onnx import TensorProto, helper

    graph = helper.make_graph(
        [
            helper.make_node("ReduceSum", ["panel", "axes"], ["sums"], keepdims=0),
            helper.make_node("Mul", ["sums", "weight"], ["scores"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("panel", TensorProto.FLOAT, ["symbols", 1, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["symbols"])],
        [
            helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2]),
            helper.make_tensor("weight", TensorProto.FLOAT, [], [weight]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def make_card(content: bytes, **changes: object) -> Card:
    card = Card(
        model="equities",
        family="tiny",
        parameters={"depth": 3},
        feature_set="f" * 64,
        features=("a", "b", "c"),
        inputs=("panel",),
        lookback=1,
        horizon=5,
        score_kind="z_score",
        cross_sectional=False,
        snapshot="s" * 64,
        train_first="2000-01-03T21:00:00+00:00",
        train_last="2018-12-31T21:00:00+00:00",
        pipeline_run=None,
        code_revision="unknown",
        seed=1,
        walk_forward=({"fold": 0, "ic": 0.01},),
        metrics={"ic": 0.01, "deflated_sharpe": None},
        ranges={"score_dispersion": {"mean": 1.0}},
        fidelity={"passed": True, "max_abs_diff": 0.0},
        gate={"passed": True, "reasons": []},
        digest=hashlib.sha256(content).hexdigest(),
        created_at="2019-01-02T00:00:00+00:00",
    )
    return replace(card, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tiny_onnx() -> Callable[..., bytes]:
    """Makes a graph that sums the panel, times a weight."""
    return make_onnx


@pytest.fixture(scope="session")
def tiny_card() -> Callable[..., Card]:
    """Makes the card of a file; fields may be replaced by name."""
    return make_card


@dataclass(frozen=True)
class SmallMarket:
    """Bars and features of a made-up market; `signal` is a feature that foretells a little."""

    bars: BarPanel
    frame: FeatureFrame
    settings: Settings


def make_market(home: Path, *, bars: int = 900, symbols: int = 12, strength: float = 0.1) -> SmallMarket:
    """Business days from 2015, five features of noise and one that correlates with the next returns."""
    random = np.random.default_rng(7)
    days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2030-01-01"))
    days = days[np.is_busday(days)][:bars]
    timestamps = days.astype("datetime64[ns]") + np.timedelta64(21, "h")
    names = ("signal", "noise_1", "noise_2", "momentum_252_21", "noise_3", "noise_4")
    values = random.normal(size=(bars, symbols, len(names))).astype(np.float32)
    # A signal that lasts some days, as one that a book can follow must.
    for bar in range(1, bars):
        values[bar, :, 0] = 0.9 * values[bar - 1, :, 0] + 0.44 * values[bar, :, 0]
    shocks = random.normal(size=(bars, symbols))
    returns = 0.01 * shocks
    returns[2:] += 0.01 * strength * values[:-2, :, 0]
    close = 100 * np.exp(np.cumsum(returns, axis=0))
    values[:20] = np.nan
    empty = np.full(close.shape, np.nan)
    labels = tuple(f"S{index:02d}" for index in range(symbols))
    return SmallMarket(
        bars=BarPanel(
            timestamps=timestamps, symbols=labels, open=empty, high=empty, low=empty, close=close,
            volume=empty, adjustment=np.ones(close.shape),
        ),
        frame=FeatureFrame(timestamps, labels, names, values, "e" * 64),
        settings=Settings(
            home=home, training=TrainingSettings(first_test_year=2017, folds=2, horizon=5, trials=0)
        ),
    )  # fmt: skip


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> SmallMarket:
    """Three and a half years of twelve symbols."""
    return make_market(tmp_path_factory.mktemp("market"))
