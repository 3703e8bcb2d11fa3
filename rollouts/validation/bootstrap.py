"""The stationary bootstrap: real bars drawn anew in blocks, so that what hangs together stays together."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError

Indices = npt.NDArray[np.intp]


def stationary(
    rng: np.random.Generator, bars: int, length: int, rollouts: int, mean_block: float = 21.0
) -> Indices:
    """Rows of `bars` to draw, `[length, rollouts]`: blocks of geometric length, wrapped at the end.

    Politis and Romano 1994, "The Stationary Bootstrap", JASA 89. A drawn row is a whole bar, so that the
    correlation across symbols and models stays, and a block keeps the clustering of volatility. Raises
    `InputError` where there are no bars to draw from.
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
