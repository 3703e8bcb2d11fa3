"""What holds for the tests of every room."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import settings

# The machine is shared and coverage traces: an example's time says nothing about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture
def untraced() -> Iterator[None]:
    """Times are taken without the tracing of coverage, which would be most of them."""
    tracer = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracer)


@pytest.fixture(scope="session")
def z_score_onnx() -> Callable[[int, int], bytes]:
    """Makes the graph of a cross-sectional model: the z-score of one feature among the symbols given."""

    def made(features: int, column: int) -> bytes:
        from onnx import TensorProto, helper

        from models import graph

        take_row, last = graph.last_row("row")
        constants = [
            last,
            helper.make_tensor("column", TensorProto.INT64, [], [column]),
            helper.make_tensor("symbols", TensorProto.INT64, [1], [0]),
            helper.make_tensor("least", TensorProto.FLOAT, [], [1e-12]),
        ]
        nodes = [
            take_row,
            helper.make_node("Gather", ["row", "column"], ["values"], axis=1),
            helper.make_node("ReduceMean", ["values", "symbols"], ["mean"]),
            helper.make_node("Sub", ["values", "mean"], ["centred"]),
            helper.make_node("Mul", ["centred", "centred"], ["squares"]),
            helper.make_node("ReduceMean", ["squares", "symbols"], ["variance"]),
            # One symbol alone has no spread: it stands at the mean.
            helper.make_node("Add", ["variance", "least"], ["above_zero"]),
            helper.make_node("Sqrt", ["above_zero"], ["deviation"]),
            helper.make_node("Div", ["centred", "deviation"], [graph.OUTPUT]),
        ]
        return graph.build_graph("z_score", nodes, constants, features)

    return made
