"""Convert back-adjusted closes to forward factors as known at the time."""

from __future__ import annotations

import numpy as np

from alphaloop.bars import FloatMatrix, TextMatrix

# Smaller relative steps are rounding, not corporate actions.
ROUNDING = 1e-9


def forward_factor(symbols: TextMatrix, ratio: FloatMatrix) -> FloatMatrix:
    """Return the factor to the adjusted price as known at the time.

    Parameters
    ----------
    symbols
        Symbol of each row, text [rows]; rows are sorted by symbol and time.
    ratio
        Back-adjusted close over traded close, float64 [rows].

    Returns
    -------
    numpy.ndarray
        Factors, float64 [rows]; 1 at each symbol's first row.

    Notes
    -----
    The level of a back-adjusted close knows the future, the ratio of two bars only the events between them:
    the steps between neighbours are multiplied forwards, and steps within `ROUNDING` of 1 are ignored. So no
    later action changes an earlier value, and only ratios mean anything.
    """
    if not len(ratio):
        return ratio
    step = np.ones(len(ratio))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step[1:] = ratio[1:] / ratio[:-1]
    first = np.r_[True, symbols[1:] != symbols[:-1]]
    step[first | (np.abs(step - 1) < ROUNDING)] = 1.0
    # A symbol without a ratio in its first row has NaN throughout.
    step[first & ~np.isfinite(ratio)] = np.nan
    factor = np.empty(len(ratio))
    for rows in np.split(np.arange(len(ratio)), np.flatnonzero(first)[1:]):
        with np.errstate(over="ignore", invalid="ignore"):
            factor[rows] = np.cumprod(step[rows])
    return factor
