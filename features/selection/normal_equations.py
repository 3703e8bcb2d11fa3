"""Normal equations: sufficient statistics of linear methods, as features-by-features matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.operator import Matrix, Vector
from features.selection.training_part import TrainingPart

_BARS_AT_ONCE = 256
RIDGE = 1e-3
"""Penalty on squared weights, per row: keeps near-duplicates from getting huge opposite weights."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Means over `rows` rows of scaled and centred features and label.

    `gram` `[F, F]` is feature times feature, `projection` `[F]` is feature times label, `square` is the
    square of the label.
    """

    gram: Matrix
    projection: Vector
    square: float
    rows: int

    @classmethod
    def of(cls, part: TrainingPart, bars: range) -> NormalEquations:
        """Compute over a range of bars, a few at a time, so that a large universe fits into memory."""
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
        """Return least-squares weights of the features at `places`, with a small penalty."""
        gram = self.gram[np.ix_(places, places)]
        return np.asarray(
            np.linalg.solve(gram + RIDGE * np.eye(len(places)), self.projection[places]), dtype=np.float64
        )

    def correlation(self, places: npt.NDArray[np.intp], weights: Vector) -> float:
        """Return the correlation of the label with the weighted features; 0 if they do not vary."""
        variance = float(weights @ self.gram[np.ix_(places, places)] @ weights) * self.square
        return float(weights @ self.projection[places]) / np.sqrt(variance) if variance > 1e-18 else 0.0

    def error(self, weights: Vector) -> float:
        """Return the mean squared error of the label with weights `[F]`."""
        return self.square - 2 * float(weights @ self.projection) + float(weights @ self.gram @ weights)

    @property
    def correlations(self) -> Matrix:
        """Correlations of the features, `[F, F]`; 0 for one that does not vary, and 1 with itself."""
        spread = np.sqrt(np.maximum(np.diag(self.gram), 0.0))
        scale = np.outer(spread, spread)
        found = np.divide(self.gram, scale, out=np.zeros_like(self.gram), where=scale > 1e-12)
        np.fill_diagonal(found, 1.0)
        return np.asarray(np.clip(found, -1.0, 1.0))
