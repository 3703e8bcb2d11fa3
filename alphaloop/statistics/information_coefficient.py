"""The information coefficient (IC): rank correlation of scores with later returns across symbols."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.statistics.ranks import Matrix, centred_ranks

Vector = npt.NDArray[np.float64]
MIN_SYMBOLS = 3
"""Symbols with score and return that a correlation needs at least."""


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
    rows = (np.asarray(values, dtype=np.float64)[np.newaxis] for values in (scores, outcomes))
    return float(information_coefficients(*rows)[0])


def information_coefficients(scores: Matrix, labels: Matrix) -> Vector:
    """Compute the Spearman rank correlation across symbols, bar by bar.

    Parameters
    ----------
    scores : ndarray of float64, shape [timestamps, symbols]
        Scores; NaN where a symbol has none.
    labels : ndarray of float64, shape [timestamps, symbols]
        Later returns; NaN where they are not known.

    Returns
    -------
    ndarray of float64, shape [timestamps]
        Correlation over the symbols that have both; NaN with fewer than three of them, or where either side
        does not vary.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    >>> labels = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])
    >>> information_coefficients(scores, labels).round(6).tolist()
    [1.0, -1.0]
    """
    both = np.isfinite(scores) & np.isfinite(labels)
    ranks = [centred_ranks(values, both) for values in (scores, labels)]
    covariance = (ranks[0] * ranks[1]).sum(axis=1)
    scale = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    usable = (both.sum(axis=1) >= MIN_SYMBOLS) & (scale > 0)
    coefficients = np.full(len(scores), np.nan)
    np.divide(covariance, scale, out=coefficients, where=usable)
    return coefficients
