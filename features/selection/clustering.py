"""Clusters of similar features: a tree by correlation, cut, with one medoid for each cluster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.engine.operator import Matrix
from features.selection.normal_equations import NormalEquations
from features.selection.training_part import TrainingPart

CLUSTER_CORRELATION = 0.7
"""Mean absolute correlation from which features form one cluster."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of `F` features.

    `of` `[F]` is each feature's cluster from 0; `medoids` is the feature most similar to its cluster, by
    cluster; `order` `[F]` lists the features in the order of the tree's leaves; `correlation` `[F, F]` is in
    the original order.
    """

    of: npt.NDArray[np.intp]
    medoids: tuple[int, ...]
    order: npt.NDArray[np.intp]
    correlation: Matrix

    def __len__(self) -> int:
        return len(self.medoids)


def cluster_features(part: TrainingPart) -> Clusters:
    """Cluster features by average linkage over `1 - |correlation|` on the training part.

    Clusters are numbered along the tree. The correlation is that over all rows or that among the symbols of a
    bar, whichever is larger: a volatility and its rank order the symbols alike, although the market's
    volatility moves one and not the other.
    """
    rows = NormalEquations.of(part, range(len(part))).correlations
    within = _within_bars(part)
    correlation = np.where(np.abs(within) > np.abs(rows), within, rows)
    if len(correlation) == 1:
        zero = np.zeros(1, dtype=np.intp)
        return Clusters(zero, (0,), zero, correlation)
    from scipy.cluster.hierarchy import fcluster, leaves_list, linkage
    from scipy.spatial.distance import squareform

    # Rounding leaves the matrix asymmetric in the last bit.
    distance = 1.0 - np.abs(correlation + correlation.T) / 2
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(np.maximum(distance, 0.0), checks=False), "average")
    order = leaves_list(tree).astype(np.intp)
    labels = fcluster(tree, 1.0 - CLUSTER_CORRELATION, "distance")
    numbers: dict[int, int] = {}
    for leaf in order:
        numbers.setdefault(int(labels[leaf]), len(numbers))
    of = np.array([numbers[int(one)] for one in labels], dtype=np.intp)
    medoids = []
    for number in range(len(numbers)):
        members = np.flatnonzero(of == number)
        likeness = np.abs(correlation[np.ix_(members, members)]).sum(axis=1)
        medoids.append(int(members[int(np.argmax(likeness))]))
    return Clusters(of, tuple(medoids), order, correlation)


def _within_bars(part: TrainingPart) -> Matrix:
    """Return the mean rank correlation of features with one another within a bar, `[F, F]`."""
    ranks = part.ranks.reshape(-1, len(part.names))
    speaks = (part.ranks != 0).any(axis=1).astype(np.float32)
    both = speaks.T @ speaks
    mean_correlation = np.divide(ranks.T @ ranks, both, out=np.zeros_like(both), where=both >= len(part) / 4)
    np.fill_diagonal(mean_correlation, 1.0)
    return np.asarray(np.clip(mean_correlation.astype(np.float64), -1.0, 1.0))
