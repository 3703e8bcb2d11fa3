"""What the tests of models share: a tiny ONNX file and its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from models.card import Card


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
