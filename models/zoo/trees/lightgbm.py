"""Gradient-boosted trees on the last row of features, by LightGBM.

Ke et al. 2017, "LightGBM: A Highly Efficient Gradient Boosting Decision Tree".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from models.dataset import Dataset, Panel
from models.family import Domain, IntRange, LogUniform, Parameters, Scores, Uniform
from models.onnx import onnx_graph

MAX_PROBED_THRESHOLDS = 400
"""Largest number of thresholds around which the export is tested."""

ZERO_THRESHOLD = np.float32(1e-35)
"""LightGBM's kZeroThreshold."""


@dataclass(frozen=True, slots=True)
class LightGBM:
    """Shallow, strongly regularised trees, because daily returns hold little to learn."""

    name: str = "lightgbm"
    lookback: int = 1
    cross_sectional: bool = False
    score_kind: str = "z_score"

    def default_parameters(self) -> dict[str, Any]:
        return {
            "trees": 120,
            "learning_rate": 0.03,
            "leaves": 12,
            "minimum_leaf": 400,
            "feature_share": 0.6,
            "row_share": 0.7,
            "l2": 5.0,
        }

    def search_space(self) -> dict[str, Domain]:
        return {
            "trees": IntRange(60, 200),
            "learning_rate": LogUniform(0.01, 0.08),
            "leaves": IntRange(6, 24),
            "minimum_leaf": IntRange(200, 1_000),
            "feature_share": Uniform(0.4, 0.9),
            "l2": LogUniform(0.5, 50.0),
        }

    def fit(self, dataset: Dataset, parameters: Parameters, seed: int) -> FittedLightGBM:
        import lightgbm

        inputs, targets, _, _ = dataset.samples(self.lookback)
        rows = np.ascontiguousarray(inputs[:, -1])
        booster = lightgbm.train(
            native_parameters(parameters, seed),
            lightgbm.Dataset(rows, targets, free_raw_data=True),
            num_boost_round=int(parameters["trees"]),
        )
        return FittedLightGBM(with_float32_thresholds(booster), rows.shape[1])


def native_parameters(parameters: Parameters, seed: int) -> dict[str, Any]:
    """Translate our parameters to LightGBM's, with those that make a fit repeatable."""
    return {
        "objective": "regression",
        "learning_rate": parameters["learning_rate"],
        "num_leaves": int(parameters["leaves"]),
        "min_data_in_leaf": int(parameters["minimum_leaf"]),
        "feature_fraction": parameters["feature_share"],
        "bagging_fraction": parameters["row_share"],
        "bagging_freq": 1,
        "lambda_l2": parameters["l2"],
        "max_bin": 63,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }


def with_float32_thresholds(booster: Any) -> Any:
    """Round the thresholds of a model to float32 without changing its predictions.

    ONNX stores thresholds as float32, rounded to the nearest, so that a row between the two values takes
    another branch than in LightGBM. No float32 lies between a threshold and the next float32 below it, so
    rounding down is exact for float32 inputs.
    """
    import lightgbm

    lines = []
    for line in booster.model_to_string().split("\n"):
        if line.startswith("threshold="):
            values = np.array(line.removeprefix("threshold=").split(), dtype=np.float64)
            lines.append("threshold=" + " ".join(repr(float(value)) for value in exact_float32(values)))
        elif not line.startswith("tree_sizes="):  # byte sizes, which the new thresholds have changed
            lines.append(line)
    return lightgbm.Booster(model_str="\n".join(lines))


def exact_float32(thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Return for each threshold the float32 that splits float32 inputs as LightGBM does.

    That is the largest float32 not above the threshold. But LightGBM reads inputs up to `ZERO_THRESHOLD` in
    size as zero, so a threshold in that range moves to its outer edge: all of those inputs stay on one side.
    """
    nearest = thresholds.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf), dtype=np.float32)
    exact = np.where(nearest.astype(np.float64) > thresholds, below, nearest)
    zero = np.abs(thresholds) <= np.float64(ZERO_THRESHOLD)
    edge = np.where(
        thresholds < 0, np.nextafter(-ZERO_THRESHOLD, np.float32(-np.inf), dtype=np.float32), ZERO_THRESHOLD
    )
    return np.where(zero, edge, exact)


def split_thresholds(booster: Any) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    """Return feature index and threshold of every split of every tree."""
    columns: list[int] = []
    thresholds: list[float] = []
    for line in booster.model_to_string().split("\n"):
        if line.startswith("split_feature="):
            columns += [int(value) for value in line.removeprefix("split_feature=").split()]
        elif line.startswith("threshold="):
            thresholds += [float(value) for value in line.removeprefix("threshold=").split()]
    return np.array(columns, dtype=np.intp), np.array(thresholds, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class FittedLightGBM:
    """A booster with float32 thresholds."""

    booster: Any
    features: int

    def predict(self, panel: Panel) -> Scores:
        rows = np.ascontiguousarray(panel[:, -1])
        return np.asarray(self.booster.predict(rows, num_threads=1), dtype=np.float32)

    def to_onnx(self) -> bytes:
        return booster_to_onnx(self.booster, self.features)

    def hard_inputs(self, panel: Panel) -> Panel:
        return rows_around_thresholds(self.booster, panel)


def booster_to_onnx(booster: Any, features: int) -> bytes:
    """Convert a booster to ONNX: the last row, the trees, one score per symbol."""
    from onnx import TensorProto, helper
    from onnxmltools.convert import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    trees = convert_lightgbm(
        booster,
        name="lightgbm",
        initial_types=[("row", FloatTensorType([None, features]))],
        target_opset=15,
        zipmap=False,
    ).graph
    take_row, last = onnx_graph.last_row_node("row")
    shape = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    flatten = helper.make_node("Reshape", [trees.output[0].name, "flat"], [onnx_graph.OUTPUT_NAME])
    nodes = [take_row, *trees.node, flatten]
    return onnx_graph.build_graph("lightgbm", nodes, [last, shape, *trees.initializer], features, ml=True)


def rows_around_thresholds(booster: Any, panel: Panel) -> Panel:
    """Place rows of `panel` on, just below and just above thresholds.

    There a wrongly rounded threshold changes the score.
    """
    columns, thresholds = split_thresholds(booster)
    if len(columns) == 0:
        return panel
    chosen = np.unique(np.linspace(0, len(columns) - 1, MAX_PROBED_THRESHOLDS).astype(np.intp))
    columns, nearest = columns[chosen], thresholds[chosen].astype(np.float32)
    probes = panel[np.arange(len(chosen)) % len(panel)]
    placed = []
    for value in (
        np.nextafter(nearest, np.float32(-np.inf), dtype=np.float32),
        nearest,
        np.nextafter(nearest, np.float32(np.inf), dtype=np.float32),
    ):
        rows = probes.copy()
        rows[np.arange(len(chosen)), -1, columns] = value
        placed.append(rows)
    return np.concatenate(placed)


FAMILY = LightGBM()
