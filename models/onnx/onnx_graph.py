"""ONNX graphs that every export shares: names, versions and what must not be in the file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OPSET = 18
ML_OPSET = 3
IR_VERSION = 10
"""ONNX Runtime reads it from 1.18 on."""

INPUT, OUTPUT = "panel", "scores"


def build_graph(
    name: str, nodes: Sequence[Any], constants: Sequence[Any], features: int, *, ml: bool = False
) -> bytes:
    """A graph from `panel` float32 `[symbols, lookback, features]` to `scores` float32 `[symbols]`.

    `ml` says that `nodes` use the domain of classical machine learning (`ai.onnx.ml`).
    """
    from onnx import TensorProto, checker, helper

    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["symbols", "lookback", features])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["symbols"])],
        list(constants),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if ml:
        opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="alphaloop")
    checker.check_model(model)
    return serialize(model)


def last_row(output: str) -> tuple[Any, Any]:
    """A node that takes the last row of each window, `[symbols, features]`, and its constant."""
    from onnx import TensorProto, helper

    constant = helper.make_tensor("last", TensorProto.INT64, [], [-1])
    return helper.make_node("Gather", [INPUT, "last"], [output], axis=1), constant


def serialize(model: Any) -> bytes:
    """The bytes of `model` without exporters' notes, which hold source paths of this machine."""
    model.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    model.ClearField("doc_string")
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return bytes(model.SerializeToString(deterministic=True))


def reserialize(content: bytes) -> bytes:
    """An exporter's file with our version of the format and without its notes."""
    import onnx

    model = onnx.load_model_from_string(content)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model)
    return serialize(model)
