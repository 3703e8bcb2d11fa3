"""Momentum: a symbol's score is its return over the last year without the last month.

Jegadeesh and Titman 1993, "Returns to Buying Winners and Selling Losers". Nothing is learned, so every
learned model has to beat it.

The feature `momentum_252_21` counts exchange days. On bars of another frequency a feature set can have a
feature `momentum_12_1`, over a year and a month of those bars, which takes precedence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alphaloop.errors import UnknownNameError
from models.dataset import Dataset, Panel
from models.family import Domain, Parameters, Scores
from models.onnx import onnx_graph

FEATURE, OVERRIDE_FEATURE = "momentum_252_21", "momentum_12_1"
"""Feature that is the score, and the feature that takes precedence."""


@dataclass(frozen=True, slots=True)
class Momentum:
    """Twelve-minus-one-month momentum, read from one feature."""

    name: str = "momentum"
    lookback: int = 1
    cross_sectional: bool = False
    score_kind: str = "signal"
    baseline: bool = True

    def default_parameters(self) -> dict[str, Any]:
        return {}

    def search_space(self) -> dict[str, Domain]:
        return {}

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedMomentum:
        names = tuple(dataset.frame.names)
        feature = OVERRIDE_FEATURE if OVERRIDE_FEATURE in names else FEATURE
        if feature not in names:
            raise UnknownNameError("feature", feature, names, where="the feature set")
        return FittedMomentum(names.index(feature), len(names))


@dataclass(frozen=True, slots=True)
class FittedMomentum:
    """The column of the momentum feature."""

    column: int
    features: int

    def predict(self, panel: Panel) -> Scores:
        return np.asarray(panel[:, -1, self.column], dtype=np.float32)

    def to_onnx(self) -> bytes:
        from onnx import TensorProto, helper

        take_row, last = onnx_graph.last_row_node("row")
        column = helper.make_tensor("column", TensorProto.INT64, [], [self.column])
        take_feature = helper.make_node("Gather", ["row", "column"], [onnx_graph.OUTPUT_NAME], axis=1)
        return onnx_graph.build_graph("momentum", [take_row, take_feature], [last, column], self.features)

    def hard_inputs(self, panel: Panel) -> Panel:
        return panel[:0]


FAMILY = Momentum()
