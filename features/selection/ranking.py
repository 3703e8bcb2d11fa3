"""Ranking: every method's score and rank of every candidate, and their combined order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.errors import DataError
from features.engine.operator import Vector
from features.selection.clustering import Clusters
from features.selection.information_coefficient import coefficient_standard_error, mean_coefficient
from features.selection.stability import Stability
from features.selection.training_part import TrainingPart

MIN_COVERAGE, MIN_VARYING_SHARE = 0.5, 0.25


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores and ranks of `F` candidates.

    `scores` and `ranks` (1 is best) are `[F]` by method, `mean_rank` `[F]` is over the methods, and `order`
    `[F]` lists the candidates from best to worst.
    """

    scores: Mapping[str, Vector]
    ranks: Mapping[str, Vector]
    mean_rank: Vector
    order: npt.NDArray[np.intp]


def rank_candidates(scores: Mapping[str, Vector]) -> Ranking:
    """Rank the candidates by each method and by their mean rank.

    Ties share their mean rank; candidates of equal mean rank keep their order.
    """
    from scipy.stats import rankdata

    ranks = {
        name: np.asarray(rankdata(-np.nan_to_num(one)), dtype=np.float64) for name, one in scores.items()
    }
    mean_rank = np.mean(list(ranks.values()), axis=0)
    return Ranking(scores, ranks, mean_rank, np.argsort(mean_rank, kind="stable"))


def choose_candidates(
    part: TrainingPart, ranked: Ranking, clusters: Clusters, stable: Stability, count: int
) -> tuple[int, ...]:
    """Choose the best `count` candidates at most, one for each cluster.

    Excluded are candidates that flip their sign, are unknown on half of the rows, or are equal for all
    symbols on more than three quarters of the bars and so cannot rank them. Raises `DataError` if none is
    left.
    """
    speaks = np.isfinite(part.coefficients).mean(axis=0) >= MIN_VARYING_SHARE
    taken: list[int] = []
    used: set[int] = set()
    for place in ranked.order:
        fits = not stable.flips[place] and part.coverage[place] >= MIN_COVERAGE and speaks[place]
        if fits and int(clusters.of[place]) not in used and len(taken) < count:
            taken.append(int(place))
            used.add(int(clusters.of[place]))
    if not taken:
        raise DataError(
            f"none of the {len(part.names)} candidates can be chosen: each is unknown on more than half of "
            "the rows, the same for all symbols, or changes its sign; take a later date or other candidates"
        )
    return tuple(taken)


def ranking_table(
    part: TrainingPart, ranked: Ranking, clusters: Clusters, stable: Stability, taken: tuple[int, ...]
) -> pa.Table:
    """Return one row a candidate, from best to worst, of the results on the training part."""
    means = mean_coefficient(part.coefficients)
    errors = coefficient_standard_error(part.coefficients, part.horizon)
    features = part.feature_set.features
    places = np.arange(len(features))
    columns: dict[str, Any] = {
        "rank": 1 + np.argsort(ranked.order),
        "feature": [one.name for one in features],
        "formula": [one.formula for one in features],
        "chosen": np.isin(places, taken),
        "cluster": clusters.of,
        "medoid": np.isin(places, clusters.medoids),
        "mean_rank": ranked.mean_rank,
        "information_coefficient": means,
        # Null for a candidate that is equal for all symbols on every bar.
        "t_statistic": pa.array(means / errors, from_pandas=True),
        "sign_agreement": stable.agreement,
        "selection_frequency": stable.frequency,
        "flips": stable.flips,
        "coverage": part.coverage,
    }
    for name in ranked.scores:
        columns[f"{name}_score"] = ranked.scores[name]
        columns[f"{name}_rank"] = ranked.ranks[name]
    return pa.table(columns).take(pa.array(ranked.order))
