"""From closes that were adjusted until today to factors as they were known then."""

from __future__ import annotations

import numpy as np

from alphaloop.bars import FloatMatrix, Texts

# Steps smaller than this are rounding, not corporate actions.
ROUNDING = 1e-9


def forward_factor(symbols: Texts, ratio: FloatMatrix) -> FloatMatrix:
    """The factor to the adjusted price as known then, float64 `[rows]`, 1 at each symbol's first row.

    `ratio` is the back-adjusted over the traded close; rows are sorted by symbol and time. The level of
    a close that was adjusted until today knows the future, the ratio of two bars only what happened
    between them: the steps between neighbours are multiplied forwards, those within `ROUNDING` of 1
    being none. So no later action changes an earlier value, and only ratios mean anything.
    """
    if not len(ratio):
        return ratio
    step = np.ones(len(ratio))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        step[1:] = ratio[1:] / ratio[:-1]
    first = np.r_[True, symbols[1:] != symbols[:-1]]
    step[first | (np.abs(step - 1) < ROUNDING)] = 1.0
    # A symbol that begins without a ratio stays without one.
    step[first & ~np.isfinite(ratio)] = np.nan
    factor = np.empty(len(ratio))
    for rows in np.split(np.arange(len(ratio)), np.flatnonzero(first)[1:]):
        with np.errstate(over="ignore", invalid="ignore"):
            factor[rows] = np.cumprod(step[rows])
    return factor
