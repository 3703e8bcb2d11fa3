"""Rank persistence: correlation of a feature across symbols from one bar to the next.

The values of a rank over a fixed universe are the same at every bar, so their distribution cannot drift. The
assignment of values to symbols can, and persistence measures it.
"""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.floating]
Persistence = npt.NDArray[np.float64]

MIN_SYMBOLS = 3
"""Minimum number of symbols for a correlation across symbols."""


def rank_correlations(values: Values) -> Persistence:
    """Compute Pearson's correlation across symbols of each bar with the bar before, for `[bars, symbols]`.

    Returns float64 `[bars - 1]`. Only symbols that have a value at both bars count; NaN with fewer than
    `MIN_SYMBOLS` of them, or where either bar does not vary.
    """
    before, after = values[:-1].astype(np.float64), values[1:].astype(np.float64)
    both = np.isfinite(before) & np.isfinite(after)
    count = both.sum(axis=1)
    left, right = _centred(before, both, count), _centred(after, both, count)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = (left * right).sum(axis=1) / np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    return np.where(count < MIN_SYMBOLS, np.nan, correlation)


def mean_persistence(values: Values, window: int) -> Persistence:
    """Compute the mean correlation with the bar before, in every window of `[bars, symbols]`.

    Returns float64 `[bars - window + 1]`; NaN where fewer than half of a window's correlations are known.
    """
    correlation = rank_correlations(values)
    if window < 2 or len(correlation) < window - 1:
        return np.full(max(len(values) - window + 1, 0), np.nan)
    views = np.lib.stride_tricks.sliding_window_view(correlation, window - 1)
    known = np.isfinite(views).mean(axis=1) >= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numpy warns of windows without a finite value
        return np.where(known, np.nanmean(views, axis=1), np.nan)


def _centred(values: Values, known: npt.NDArray[np.bool_], count: npt.NDArray[np.intp]) -> Persistence:
    kept = np.where(known, values, 0.0)
    mean = kept.sum(axis=1) / np.maximum(count, 1)
    return np.where(known, kept - mean[:, None], 0.0)
