"""A model family of one's own: linear scores by least squares, with normalisation inside the ONNX file.

Named in the settings (`plugins = ["own_family.py"]`), this file adds the family to `alphaloop train`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.dataset import Dataset, Panel
from models.family import Domain, FittedModel, LogUniform, Parameters, Scores
from models.onnx import onnx_graph


@dataclass(frozen=True, slots=True)
class LeastSquares:
    """Ridge regression of the label's z-score on the last row of features."""

    name: str = "least-squares"
    lookback: int = 1
    cross_sectional: bool = False
    score_kind: str = "z_score"

    def default_parameters(self) -> dict[str, Any]:
        return {"ridge": 10.0}

    def search_space(self) -> dict[str, Domain]:
        return {"ridge": LogUniform(0.1, 1_000.0)}

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedModel:
        """Fit on every bar of `dataset.rows`; nothing here is random."""
        inputs, targets, _, _ = dataset.samples(self.lookback)
        rows = inputs[:, -1].astype(np.float64)
        mean, scale = rows.mean(axis=0), rows.std(axis=0) + 1e-9
        scaled = (rows - mean) / scale
        gram = scaled.T @ scaled + parameters["ridge"] * np.eye(scaled.shape[1])
        weights = np.linalg.solve(gram, scaled.T @ targets) / scale
        return FittedLeastSquares(weights.astype(np.float32), np.float32(-mean @ weights))


@dataclass(frozen=True, slots=True)
class FittedLeastSquares:
    """Weights of the features, float32 `[features]`, and the constant."""

    weights: np.ndarray
    constant: np.float32

    def predict(self, panel: Panel) -> Scores:
        return np.asarray(panel[:, -1] @ self.weights + self.constant, dtype=np.float32)

    def to_onnx(self) -> bytes:
        """Write the same arithmetic as a graph: the last row, times the weights, plus the constant."""
        from onnx import helper, numpy_helper

        take_row, last = onnx_graph.last_row_node("row")
        weights = numpy_helper.from_array(self.weights, "weights")
        constant = numpy_helper.from_array(np.array(self.constant), "constant")
        multiply = helper.make_node("MatMul", ["row", "weights"], ["product"])
        add = helper.make_node("Add", ["product", "constant"], [onnx_graph.OUTPUT_NAME])
        nodes, constants = [take_row, multiply, add], [last, weights, constant]
        return onnx_graph.build_graph("least-squares", nodes, constants, len(self.weights))

    def hard_inputs(self, panel: Panel) -> Panel:
        """Return nothing: a line has no thresholds near which a wrong export would show."""
        return panel[:0]


FAMILY = LeastSquares()


def main() -> None:
    """Train the family as the command does: walk-forward, export, comparison, gate, registry."""
    from small_workspace import LAST_TRAINING_DAY, alphaloop, workspace

    with workspace(Path(__file__)):
        alphaloop("features", "build", "--until", LAST_TRAINING_DAY)
        alphaloop("train", "least-squares")


if __name__ == "__main__":
    main()
