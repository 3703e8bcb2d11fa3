"""Matured labels: the outcome of a score, once the market has made it known.

A score made at close `t` can be traded at close `t + 1` at the earliest, so its one-bar outcome is the return
from close `t + 1` to close `t + 2`. Consecutive outcomes do not overlap, which the sequential tests of
`rollouts.evidence.sequential` rely on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import rank_scores
from alphaloop.decision.returns import simple_returns

__all__ = ["BARS_TO_MATURE", "information_coefficient", "simple_returns"]

Vector = npt.NDArray[np.float64]

BARS_TO_MATURE = 2
"""Number of bars after a score's own bar until its one-bar outcome is known."""


def information_coefficient(scores: npt.ArrayLike, outcomes: npt.ArrayLike) -> float:
    """Compute the Spearman rank correlation across symbols at one bar.

    Parameters
    ----------
    scores : array_like of float, shape [symbols]
        Scores; NaN where a symbol has none.
    outcomes : array_like of float, shape [symbols]
        Realised returns; NaN where they are not known.

    Returns
    -------
    float
        Correlation in [-1, 1] over the symbols that have both. NaN with fewer than three of them, or where
        either side does not vary.

    Examples
    --------
    >>> round(information_coefficient([0.3, 0.1, 0.2], [0.05, -0.01, 0.02]), 9)
    1.0
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
