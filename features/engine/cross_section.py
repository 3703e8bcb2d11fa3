"""Features of a symbol among the others: a second pass over the universe at one timestamp.

They take float64 `[T, N]` (`[1, N]` in a stream) and look at each row by itself. Only comparisons,
counts, medians and sums in sorted order are used, which do not depend on how symbols are arranged: a row
gives the same bits alone and among thousands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def share_positive(values: Matrix) -> Matrix:
    """The share of each row's finite values above zero, less a half, for every symbol that has one."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1, keepdims=True)
    share = (values > 0).sum(axis=1, keepdims=True) / np.maximum(count, 1) - 0.5
    return np.where(finite, share, np.nan)


def universe_median(values: Matrix) -> Matrix:
    """The median of each row's finite values, for every symbol that has one."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    ordered = np.sort(values, axis=1)
    rows = np.arange(len(values))
    low = ordered[rows, np.maximum((count - 1) // 2, 0)]
    high = ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(finite, ((low + high) / 2)[:, None], np.nan)


def demean(values: Matrix) -> Matrix:
    """Each value less the mean of its row's finite values; NaN stays NaN. Shape `[T, N]` to `[T, N]`."""
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    # Counted from the least, so that values that are all the same give exactly 0.
    above = known - np.fmin.reduce(known, axis=1, keepdims=True, initial=np.inf)
    return np.where(finite, above - _mean(above), np.nan)


def zscore(values: Matrix) -> Matrix:
    """`demean`, in standard deviations of the row's finite values (of the population, not of a sample).

    A row whose values are all the same, or with only one, has 0.
    """
    centred = demean(values)
    # In units of the largest, so that squares neither overflow nor vanish.
    largest = np.fmax.reduce(np.abs(centred), axis=1, keepdims=True, initial=0.0)
    scaled = centred / np.where(largest > 0, largest, 1.0)
    deviation = np.sqrt(_mean(scaled * scaled))
    return np.where(np.isfinite(values), scaled / np.where(deviation > 0, deviation, 1.0), np.nan)


def within(function: Callable[[Matrix], Matrix], values: Matrix, groups: Matrix) -> Matrix:
    """`function` in each row's groups by themselves; `groups` holds a code for each symbol, `[T, N]`.

    NaN where a symbol has no value or no group. Codes are compared within a row only.
    """
    known = np.isfinite(values) & np.isfinite(groups)
    codes = np.where(known, groups, np.nan)
    order = np.argsort(codes, axis=1, kind="stable")
    ordered = np.take_along_axis(codes, order, axis=1)
    # Codes of any size become 0, 1, … along each row; those without one come last.
    steps = np.zeros(values.shape, dtype=np.int64)
    steps[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    places = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(places, order, steps, axis=1)
    result = np.full(values.shape, np.nan)
    for place in range(int(places.max(initial=-1, where=known)) + 1):
        chosen = known & (places == place)
        rows = chosen.any(axis=1)
        found = function(np.where(chosen[rows], values[rows], np.nan))
        result[rows] = np.where(chosen[rows], found, result[rows])
    return result


def _mean(values: Matrix) -> Matrix:
    """The mean of each row's values that are not NaN, `[T, 1]`: added up from the least to the greatest."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1, keepdims=True)
    total = np.cumsum(np.nan_to_num(ordered), axis=1)[:, -1:]
    return np.asarray(total / np.maximum(count, 1))
