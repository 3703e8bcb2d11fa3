"""The lasso: few features with weight, the penalty chosen on folds of time."""

from __future__ import annotations

import warnings

import numpy as np

from features.engine.operator import Matrix, Vector
from features.selection.folds import folds
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart

PENALTIES = 60


def lasso(part: TrainingPart, seed: int = 0) -> Vector:
    """Sizes of the weights, `[F]`, at the penalty that errs least on purged, time-ordered folds.

    Tibshirani 1996, by the path of Efron and others 2004. All are 0 where no weights at all err least.
    """
    del seed  # The path leaves nothing to chance.
    whole = NormalEquations.of(part, range(len(part)))
    largest = float(np.abs(whole.projection).max(initial=0.0))
    if not largest > 0:
        return np.zeros(len(part.names))
    penalties = largest * np.geomspace(1.0, 1e-3, PENALTIES)
    errors = np.zeros(PENALTIES)
    for fold in folds(len(part), part.horizon):
        test = NormalEquations.of(part, fold.test)
        path = _path(NormalEquations.of(part, fold.train), penalties)
        errors += [test.error(weights) for weights in path]
    return np.asarray(np.abs(_path(whole, penalties)[int(np.argmin(errors))]))


def _path(equations: NormalEquations, penalties: Vector) -> Matrix:
    """Weights `[penalties, F]`; between its knots the path is straight, so reading it there is exact."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import lars_path_gram

    with warnings.catch_warnings():
        # Of features that are nearly the same the path takes one and says that it left the others out.
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
