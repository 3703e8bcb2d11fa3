"""Normal equations: what linear methods need to know of many rows, in a matrix of features by features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.operator import Matrix, Vector
from features.selection.training_part import TrainingPart

_BARS_AT_ONCE = 256
RIDGE = 1e-3
"""Penalty on squared weights, as a share of a row: keeps twins from taking huge opposite weights."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Means over `rows` rows: `gram` of feature times feature `[F, F]`, `projection` of feature times label
    `[F]`, and `square` of the label's square. Features and label are scaled and centred.
    """

    gram: Matrix
    projection: Vector
    square: float
    rows: int

    @classmethod
    def of(cls, part: TrainingPart, bars: range) -> NormalEquations:
        """Over a stretch of bars, a few at a time, so that a large universe fits into memory."""
        size = len(part.names)
        gram, projection = np.zeros((size, size)), np.zeros(size)
        total, square, label, rows = np.zeros(size), 0.0, 0.0, 0
        for first in range(bars.start, bars.stop, _BARS_AT_ONCE):
            some, labels = part.rows_between(range(first, min(first + _BARS_AT_ONCE, bars.stop)))
            features = some.astype(np.float64)
            gram += features.T @ features
            projection += features.T @ labels
            total += features.sum(axis=0)
            square, label, rows = (
                square + float(labels @ labels),
                label + float(labels.sum()),
                rows + len(labels),
            )
        rows = max(rows, 1)
        middle, centre = total / rows, label / rows
        return cls(
            gram / rows - np.outer(middle, middle),
            projection / rows - middle * centre,
            square / rows - centre**2,
            rows,
        )

    def ridge(self, places: npt.NDArray[np.intp]) -> Vector:
        """Weights of the features at `places`, by least squares with a small penalty."""
        gram = self.gram[np.ix_(places, places)]
        return np.asarray(
            np.linalg.solve(gram + RIDGE * np.eye(len(places)), self.projection[places]), dtype=np.float64
        )

    def correlation(self, places: npt.NDArray[np.intp], weights: Vector) -> float:
        """Of the label with the weighted features; 0 where they do not vary."""
        variance = float(weights @ self.gram[np.ix_(places, places)] @ weights) * self.square
        return float(weights @ self.projection[places]) / np.sqrt(variance) if variance > 1e-18 else 0.0

    def error(self, weights: Vector) -> float:
        """The mean squared error that these weights `[F]` leave of the label."""
        return self.square - 2 * float(weights @ self.projection) + float(weights @ self.gram @ weights)

    @property
    def correlations(self) -> Matrix:
        """Of each feature with each, `[F, F]`; 0 for one that does not vary, and 1 with itself."""
        spread = np.sqrt(np.maximum(np.diag(self.gram), 0.0))
        scale = np.outer(spread, spread)
        found = np.divide(self.gram, scale, out=np.zeros_like(self.gram), where=scale > 1e-12)
        np.fill_diagonal(found, 1.0)
        return np.asarray(np.clip(found, -1.0, 1.0))
