"""This server with a linear model as champion."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.processes import free_port
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from models.registry.card import Card
from models.registry.model_registry import Registry
from serving.hosts.process import ProcessHost

from .protocol_calls import MODEL, Target


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """This server as a plain process host, with the linear model as champion."""
    settings = Settings(
        home=tmp_path_factory.mktemp("conformance"),
        serving=ServingSettings(
            model=MODEL, grpc_port=free_port(), http_port=free_port(), metrics_port=0, poll_seconds=60
        ),
    )
    content = linear_onnx()
    registry = Registry(settings.paths.registry)
    registry.register(MODEL, content, card_of(content))
    registry.write_rollout(RolloutDocument(MODEL, "1"), None)
    with ProcessHost(settings) as host:
        yield Target(host.url, host.http_url)


def linear_onnx() -> bytes:
    """The last row times (1, 2, 3)."""
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["panel", "last"], ["row"], axis=1),
            helper.make_node("MatMul", ["row", "weights"], ["scores"]),
        ],
        "linear",
        [helper.make_tensor_value_info("panel", TensorProto.FLOAT, ["symbols", 2, 3])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["symbols"])],
        [
            numpy_helper.from_array(np.array(1, np.int64), "last"),
            numpy_helper.from_array(np.array([1, 2, 3], np.float32), "weights"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(made.SerializeToString())


def card_of(content: bytes) -> Card:
    """A card that fits `content`."""
    return Card(
        model=MODEL, family="linear", parameters={}, feature_set="f" * 64, features=("a", "b", "c"),
        inputs=("panel",), lookback=2, horizon=5, score_kind="zscore", cross_sectional=False, snapshot="s",
        train_first="", train_last="", pipeline_run=None, code_revision="test", seed=1, walk_forward=(),
        metrics={}, ranges={}, fidelity={}, gate={"passed": True},
        digest=hashlib.sha256(content).hexdigest(), created_at="2019-01-01T00:00:00+00:00",
    )  # fmt: skip
