"""Reference bars: a fixed simulated market on which properties of features are measured.

Returns follow a GARCH(1,1) process with Student t shocks (Bollerslev 1987), so volatility clusters and tails
are fat, as in markets. Nothing here is market data.
"""

from __future__ import annotations

import zlib
from functools import cache

import numpy as np
import numpy.typing as npt

from alphaloop.bars import PRICE_COLUMNS

Vector = npt.NDArray[np.float64]
SEED = 20180102
DEGREES_OF_FREEDOM = 5
BAR_VOLATILITY = 0.012
_SHOCK, _PERSISTENCE = 0.10, 0.85


def reference_column(name: str, bars: int) -> Vector:
    """Return one column of `bars` simulated bars, float64 `[bars]`.

    Prices and volume are those of one market; any other name gets a positive series of its own.
    """
    if name in (*PRICE_COLUMNS, "volume"):
        return _market(bars)[name]
    generator = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    return np.exp(generator.normal(0.0, 0.3, bars))


@cache
def _market(bars: int) -> dict[str, Vector]:
    generator = np.random.default_rng(SEED)
    shocks = generator.standard_t(DEGREES_OF_FREEDOM, bars) / np.sqrt(
        DEGREES_OF_FREEDOM / (DEGREES_OF_FREEDOM - 2)
    )
    variance = np.ones(bars)
    for bar in range(1, bars):
        surprise = shocks[bar - 1] ** 2 * variance[bar - 1]
        variance[bar] = (1.0 - _SHOCK - _PERSISTENCE) + _SHOCK * surprise + _PERSISTENCE * variance[bar - 1]
    close = 100.0 * np.exp(np.cumsum(BAR_VOLATILITY * np.sqrt(variance) * shocks))
    opened = np.concatenate([[100.0], close[:-1]]) * np.exp(generator.normal(0.0, 0.004, bars))
    above, below = np.exp(np.abs(generator.normal(0.0, 0.006, (2, bars))))
    return {
        "open": opened,
        "high": np.maximum(opened, close) * above,
        "low": np.minimum(opened, close) / below,
        "close": close,
        "volume": 1e6 * np.exp(generator.normal(0.0, 0.4, bars)),
    }
