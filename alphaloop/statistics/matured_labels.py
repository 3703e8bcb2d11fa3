"""Labels as they mature: what the market paid for a score, once it is known.

A score made at close `t` can be traded at close `t + 1` at the earliest, so its one-bar outcome is
the return from close `t + 1` to close `t + 2`. Consecutive outcomes do not overlap, which the
sequential tests of `rollouts.evidence.sequential` rely on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import rank_scores
from alphaloop.decision.returns import simple_returns

__all__ = ["BARS_TO_MATURE", "information_coefficient", "simple_returns"]

Vector = npt.NDArray[np.float64]

BARS_TO_MATURE = 2
"""Bars after a score's own until its one-bar outcome is known."""


def information_coefficient(scores: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """Spearman rank correlation across symbols at one bar, in [-1, 1].

    Only symbols with both a score and an outcome count. NaN with fewer than three, or where either
    side does not vary.
    """
    values = np.asarray(scores, dtype=np.float64)
    realised = np.asarray(outcomes, dtype=np.float64)
    both = np.isfinite(values) & np.isfinite(realised)
    if both.sum() < 3:
        return float("nan")
    score_ranks, outcome_ranks = rank_scores(values[both]), rank_scores(realised[both])
    if not score_ranks.any() or not outcome_ranks.any():
        return float("nan")
    return float(np.mean(score_ranks * outcome_ranks))
