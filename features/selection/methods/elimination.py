"""Recursive elimination: the feature that a model would miss least goes, again and again."""

from __future__ import annotations

import numpy as np

from features.engine.operator import Vector
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart


def elimination(part: TrainingPart, seed: int = 0) -> Vector:
    """How long each feature stayed, `[F]`, from `1 / F` for the first to go to 1 for the last.

    Each round fits a ridge regression on the features left and drops the one of least weight; features
    are scaled, so weights compare (Guyon and others 2002).
    """
    del seed  # Rounds leave nothing to chance.
    equations = NormalEquations.of(part, range(len(part)))
    spread = np.sqrt(np.maximum(np.diag(equations.gram), 0.0))
    left = np.arange(len(part.names))
    stayed = np.zeros(len(left))
    for turn in range(1, len(stayed) + 1):
        least = int(np.argmin(np.abs(equations.ridge(left)) * spread[left]))
        stayed[left[least]] = turn / len(stayed)
        left = np.delete(left, least)
    return stayed
