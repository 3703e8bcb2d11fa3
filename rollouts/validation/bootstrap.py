"""Stationary bootstrap: real bars resampled in blocks, which keeps their dependence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError

Indices = npt.NDArray[np.intp]


def stationary_bootstrap(
    rng: np.random.Generator, bars: int, length: int, rollouts: int, mean_block: float = 21.0
) -> Indices:
    """Draw row numbers in blocks of geometric length, wrapped at the end of the sample.

    A drawn row is a whole bar, so the correlation across symbols and models stays; a block keeps the
    clustering of volatility.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    bars : int
        Number of bars to draw from, at least 2.
    length : int
        Number of bars of each rollout.
    rollouts : int
        Number of rollouts.
    mean_block : float
        Mean length of a block, in bars, at least 1.

    Returns
    -------
    ndarray of intp, shape (length, rollouts)
        Row numbers in [0, bars).

    Raises
    ------
    InputError
        Where there are too few bars, or `mean_block` is below 1.

    References
    ----------
    .. [1] Politis, D. N. and Romano, J. P. (1994). The Stationary Bootstrap. JASA 89.

    Examples
    --------
    >>> import numpy as np
    >>> stationary_bootstrap(np.random.default_rng(0), bars=100, length=250, rollouts=3).shape
    (250, 3)
    """
    if bars < 2 or mean_block < 1:
        raise InputError(f"{bars} bars in blocks of {mean_block:g} cannot be drawn from; give more history")
    drawn = np.empty((length, rollouts), dtype=np.intp)
    fresh = rng.integers(0, bars, (length, rollouts))
    breaks = rng.random((length, rollouts)) < 1.0 / mean_block
    drawn[0] = fresh[0]
    for bar in range(1, length):
        drawn[bar] = np.where(breaks[bar], fresh[bar], (drawn[bar - 1] + 1) % bars)
    return drawn
