"""Recursive feature elimination with a ridge regression."""

from __future__ import annotations

import numpy as np

from features.engine.operator import Vector
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart


def elimination(part: TrainingPart, seed: int = 0) -> Vector:
    """Score features by the round in which they are eliminated, `[F]`.

    Scores go from `1 / F` (first) to 1 (last). Each round fits a ridge regression on the remaining features
    and drops the one of least weight; features are scaled, so weights are comparable (Guyon and others 2002).
    """
    del seed  # Deterministic: the seed is not used.
    equations = NormalEquations.of(part, range(len(part)))
    spread = np.sqrt(np.maximum(np.diag(equations.gram), 0.0))
    left = np.arange(len(part.names))
    stayed = np.zeros(len(left))
    for turn in range(1, len(stayed) + 1):
        least = int(np.argmin(np.abs(equations.ridge(left)) * spread[left]))
        stayed[left[least]] = turn / len(stayed)
        left = np.delete(left, least)
    return stayed
