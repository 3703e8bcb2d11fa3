"""Permutation importance: what trees lose when a feature is shuffled among the symbols of a bar."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.purged_folds import Fold
from features.engine.operator import Matrix, Vector
from features.selection.folds import time_folds
from features.selection.information_coefficient import bar_coefficients, mean_coefficient, unit_feature_ranks
from features.selection.scaling import Panel
from features.selection.training_part import TrainingPart

FOLDS = 3
TREES, LEAVES, MIN_LEAF_ROWS, RATE = 60, 8, 200, 0.05
MAX_ROWS = 40_000
"""Maximum rows of a fold for growing or testing trees; of more, every second, third … bar is taken."""
REPEATS = 2


def permutation_importance(part: TrainingPart, seed: int = 0) -> Vector:
    """Score features by the information coefficient lost, `[F]`, on purged folds after the training rows.

    Breiman 2001. A feature is shuffled within each bar: what it tells about a bar as a whole is kept, since
    it need not predict that. Trees are grown in one thread, so that any machine grows the same ones.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    chance = np.random.default_rng(seed)
    lost = np.zeros(len(part.names))
    with threadpool_limits(1):
        for fold in time_folds(len(part), part.horizon, FOLDS):
            bars = _thinned(part, fold.train)
            mask = part.labelled[bars]
            least = min(MIN_LEAF_ROWS, max(int(mask.sum()) // 20, 1))
            model = HistGradientBoostingRegressor(
                max_iter=TREES, max_leaf_nodes=LEAVES, min_samples_leaf=least, learning_rate=RATE,
                early_stopping=False, random_state=seed,
            )  # fmt: skip
            model.fit(part.scaled[bars][mask], part.scaled_target[bars][mask])
            lost += _lost(part, fold, [trees[0].nodes for trees in model._predictors], chance)
    return lost / FOLDS


def _lost(part: TrainingPart, fold: Fold, trees: list[Any], chance: np.random.Generator) -> Vector:
    bars = _thinned(part, fold.test)
    labelled = part.labelled[bars]
    features = part.scaled[bars]
    labels = unit_feature_ranks(part.target[bars], labelled)
    scores = [_score(tree, features) for tree in trees]
    whole = np.sum(scores, axis=0)
    before = _coefficient(whole, labels, labelled)
    lost = np.zeros(features.shape[2])
    for place, touched in sorted(_users(trees).items()):
        own = features[..., place].copy()
        for _ in range(REPEATS):
            features[..., place] = chance.permuted(own, axis=1)
            # Only trees that split on the feature can change their prediction.
            changed = sum(_score(trees[one], features) - scores[one] for one in touched)
            lost[place] += (before - _coefficient(whole + changed, labels, labelled)) / REPEATS
        features[..., place] = own
    return lost


def _coefficient(scores: Matrix, labels: Matrix, labelled: npt.NDArray[np.bool_]) -> float:
    return float(
        mean_coefficient(bar_coefficients(unit_feature_ranks(scores, labelled)[..., None], labels))[0]
    )


def _users(trees: list[Any]) -> dict[int, list[int]]:
    """Return the trees that split on each feature: shuffling changes no others."""
    found: dict[int, list[int]] = {}
    for number, nodes in enumerate(trees):
        for place in set(nodes["feature_idx"][nodes["is_leaf"] == 0].tolist()):
            found.setdefault(place, []).append(number)
    return found


def _score(nodes: Any, features: Panel) -> Matrix:
    """Return the prediction of one tree for `features` `[T, N, F]`, `[T, N]`."""
    rows = features.reshape(-1, features.shape[2])
    leaf, value, place = nodes["is_leaf"] != 0, nodes["value"], nodes["feature_idx"]
    here = np.zeros(len(rows), dtype=np.intp)
    every = np.arange(len(rows))
    while not leaf[here].all():
        left = rows[every, place[here]] <= nodes["num_threshold"][here]
        below = np.where(left, nodes["left"][here], nodes["right"][here])
        here = np.where(leaf[here], here, below)
    return np.asarray(value[here].reshape(features.shape[:2]), dtype=np.float64)


def _thinned(part: TrainingPart, bars: range) -> npt.NDArray[np.intp]:
    step = max(1, -(-len(bars) * len(part.symbols) // MAX_ROWS))
    return np.arange(bars.start, bars.stop, step)
