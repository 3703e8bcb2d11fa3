"""Lasso: sparse linear weights, with the penalty chosen on purged time folds."""

from __future__ import annotations

import warnings

import numpy as np

from features.engine.operator import Matrix, Vector
from features.selection.folds import time_folds
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart

PENALTIES = 60


def lasso(part: TrainingPart, seed: int = 0) -> Vector:
    """Score features by absolute weight, `[F]`, at the penalty with the least error on purged time folds.

    Tibshirani 1996, by the path of Efron and others 2004. All are 0 if the empty model has the least error.
    """
    del seed  # Deterministic: the seed is not used.
    whole = NormalEquations.of(part, range(len(part)))
    largest = float(np.abs(whole.projection).max(initial=0.0))
    if not largest > 0:
        return np.zeros(len(part.names))
    penalties = largest * np.geomspace(1.0, 1e-3, PENALTIES)
    errors = np.zeros(PENALTIES)
    for fold in time_folds(len(part), part.horizon):
        test = NormalEquations.of(part, fold.test)
        path = _path(NormalEquations.of(part, fold.train), penalties)
        errors += [test.error(weights) for weights in path]
    return np.asarray(np.abs(_path(whole, penalties)[int(np.argmin(errors))]))


def _path(equations: NormalEquations, penalties: Vector) -> Matrix:
    """Return weights `[penalties, F]`; exact, because the path is linear between its knots."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    with warnings.catch_warnings():
        # The path warns when it drops near-duplicates of a feature it took.
        warnings.simplefilter("ignore", ConvergenceWarning)
        knots, _, weights = lars_path_gram(
            Xy=equations.projection.copy(),
            Gram=equations.gram.copy(),
            n_samples=1,
            alpha_min=float(penalties[-1]),
            method="lasso",
            max_iter=8 * len(equations.projection),
        )
    order = np.argsort(knots)
    return np.array([np.interp(penalties, knots[order], one[order]) for one in weights]).T
