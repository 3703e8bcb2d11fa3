"""Stability: whether a feature's information coefficient keeps its sign and size over time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from features.engine.operator import Matrix, Vector
from features.selection.information_coefficient import coefficient_standard_error, mean_coefficient
from features.selection.training_part import TrainingPart

BLOCKS = 8
CERTAIN_STANDARD_ERRORS = 2.0
"""Standard errors from which the information coefficient of a half counts as certain."""


@dataclass(frozen=True, eq=False)
class Stability:
    """Information coefficients over periods of time.

    `blocks` `[B, F]` are mean coefficients of blocks that begin at `starts` `[B]`. `agreement` `[F]` is the
    share of blocks with the sign of the whole; `frequency` `[F]` the share in which the feature is in the
    first quarter by absolute value, with that sign; `flips` `[F]` marks features whose halves are both
    certain and of opposite sign. `rank_agreement` is the mean rank correlation between blocks over all
    features (1: the same order in all).
    """

    starts: Timestamps
    blocks: Matrix
    agreement: Vector
    frequency: Vector
    flips: npt.NDArray[np.bool_]
    rank_agreement: float


def measure_stability(part: TrainingPart) -> Stability:
    """Evaluate `BLOCKS` equal parts of the training part."""
    bars = part.coefficients
    edges = np.linspace(0, len(part), BLOCKS + 1).astype(int)
    blocks = np.array([mean_coefficient(bars[first:last]) for first, last in pairwise(edges)])
    sign = np.sign(mean_coefficient(bars))
    quarter = np.quantile(np.abs(blocks), 0.75, axis=1, keepdims=True)
    same = (np.sign(blocks) == sign) & (sign != 0)
    halves = []
    for half in (bars[: len(part) // 2], bars[len(part) // 2 :]):
        error = coefficient_standard_error(half, part.horizon)
        halves.append(np.divide(mean_coefficient(half), error, out=np.zeros(len(error)), where=error > 0))
    certain = np.minimum(np.abs(halves[0]), np.abs(halves[1])) >= CERTAIN_STANDARD_ERRORS
    return Stability(
        starts=part.timestamps[edges[:-1]],
        blocks=blocks,
        agreement=np.asarray(same.mean(axis=0)),
        frequency=np.asarray((same & (np.abs(blocks) >= quarter)).mean(axis=0)),
        flips=certain & (np.sign(halves[0]) != np.sign(halves[1])),
        rank_agreement=_rank_agreement(blocks),
    )


def _rank_agreement(blocks: Matrix) -> float:
    from scipy.stats import rankdata

    if blocks.shape[1] < 3:
        return float("nan")
    ranks = rankdata(blocks, axis=1)
    spread = ranks.std(axis=1)
    ranks = (ranks - ranks.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)[:, None]
    agreement = ranks @ ranks.T / ranks.shape[1]
    return float(agreement[np.triu_indices(len(blocks), 1)].mean())
