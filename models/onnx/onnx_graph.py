"""ONNX graphs: input and output names, format versions, and removal of exporters' notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OPSET = 18
"""Operator set of the standard domain."""
ML_OPSET = 3
"""Operator set of the domain `ai.onnx.ml`."""
IR_VERSION = 10
"""Version of the file format, which ONNX Runtime reads from 1.18 on."""

INPUT_NAME, OUTPUT_NAME = "panel", "scores"
"""Names of the model's input and output."""


def build_graph(
    name: str, nodes: Sequence[Any], constants: Sequence[Any], features: int, *, ml: bool = False
) -> bytes:
    """Build a graph from `panel` float32 `[symbols, lookback, features]` to `scores` float32 `[symbols]`.

    `ml` means that `nodes` use the domain of classical machine learning (`ai.onnx.ml`).
    """
    from onnx import TensorProto, checker, helper

    graph = helper.make_graph(
        list(nodes),
        name,
        [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["symbols", "lookback", features])],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["symbols"])],
        list(constants),
    )
    opsets = [helper.make_opsetid("", OPSET)]
    if ml:
        opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="alphaloop")
    checker.check_model(model)
    return serialize(model)


def last_row_node(output: str) -> tuple[Any, Any]:
    """Make a node that takes each window's last row, `[symbols, features]`, and its constant."""
    from onnx import TensorProto, helper

    constant = helper.make_tensor("last", TensorProto.INT64, [], [-1])
    return helper.make_node("Gather", [INPUT_NAME, "last"], [output], axis=1), constant


def serialize(model: Any) -> bytes:
    """Serialise `model` without exporters' notes, which contain source paths of this machine."""
    model.ClearField("metadata_props")
    model.graph.ClearField("metadata_props")
    model.ClearField("doc_string")
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    return bytes(model.SerializeToString(deterministic=True))


def reserialize(content: bytes) -> bytes:
    """Rewrite an exporter's file in our version of the format, without the exporter's notes."""
    import onnx

    model = onnx.load_model_from_string(content)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model)
    return serialize(model)
