"""Cross-sectional functions: each symbol among the others at one timestamp.

They take float64 `[T, N]` (`[1, N]` in a stream) and treat each row separately. Only comparisons, counts,
medians and sums in sorted order are used, which do not depend on the order of symbols: a row gives the same
bits alone and among thousands.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def share_positive(values: Matrix) -> Matrix:
    """Return the share of each row's finite values above zero, minus 0.5.

    Every symbol with a value gets it; NaN for others.
    """
    finite = np.isfinite(values)
    count = finite.sum(axis=1, keepdims=True)
    share = (values > 0).sum(axis=1, keepdims=True) / np.maximum(count, 1) - 0.5
    return np.where(finite, share, np.nan)


def universe_median(values: Matrix) -> Matrix:
    """Return the median of each row's finite values, for every symbol with a value."""
    finite = np.isfinite(values)
    count = finite.sum(axis=1)
    ordered = np.sort(values, axis=1)
    rows = np.arange(len(values))
    low = ordered[rows, np.maximum((count - 1) // 2, 0)]
    high = ordered[rows, np.minimum(count // 2, values.shape[1] - 1)]
    return np.where(finite, ((low + high) / 2)[:, None], np.nan)


def demean(values: Matrix) -> Matrix:
    """Subtract the mean of each row's finite values, `[T, N]`; NaN stays NaN."""
    finite = np.isfinite(values)
    known = np.where(finite, values, np.nan)
    # Measured from the minimum, so that equal values give exactly 0.
    above = known - np.fmin.reduce(known, axis=1, keepdims=True, initial=np.inf)
    return np.where(finite, above - _mean(above), np.nan)


def zscore(values: Matrix) -> Matrix:
    """Standardise each row: `demean` over the population standard deviation of its finite values.

    A row with a single value, or whose values are all the same, becomes 0.
    """
    centred = demean(values)
    # Scaled by the largest, so that squares neither overflow nor underflow.
    largest = np.fmax.reduce(np.abs(centred), axis=1, keepdims=True, initial=0.0)
    scaled = centred / np.where(largest > 0, largest, 1.0)
    deviation = np.sqrt(_mean(scaled * scaled))
    return np.where(np.isfinite(values), scaled / np.where(deviation > 0, deviation, 1.0), np.nan)


def apply_within_groups(function: Callable[[Matrix], Matrix], values: Matrix, groups: Matrix) -> Matrix:
    """Apply `function` to each group of each row; `groups` holds a code for each symbol, `[T, N]`.

    NaN where a symbol has no value or no group. Codes are compared within a row only.
    """
    known = np.isfinite(values) & np.isfinite(groups)
    codes = np.where(known, groups, np.nan)
    order = np.argsort(codes, axis=1, kind="stable")
    ordered = np.take_along_axis(codes, order, axis=1)
    # Codes of any size become 0, 1, … along each row; symbols without a code come last.
    steps = np.zeros(values.shape, dtype=np.int64)
    steps[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    group_numbers = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(group_numbers, order, steps, axis=1)
    result = np.full(values.shape, np.nan)
    for number in range(int(group_numbers.max(initial=-1, where=known)) + 1):
        chosen = known & (group_numbers == number)
        rows = chosen.any(axis=1)
        group_values = function(np.where(chosen[rows], values[rows], np.nan))
        result[rows] = np.where(chosen[rows], group_values, result[rows])
    return result


def _mean(values: Matrix) -> Matrix:
    """Return the mean of each row's values that are not NaN, `[T, 1]`, summed in ascending order."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1, keepdims=True)
    total = np.cumsum(np.nan_to_num(ordered), axis=1)[:, -1:]
    return np.asarray(total / np.maximum(count, 1))
