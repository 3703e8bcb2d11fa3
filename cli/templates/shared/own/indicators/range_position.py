"""An indicator of one's own: use it in formulas as `range_position(20)`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

Prices = npt.NDArray[np.float64]


def _position(high: Prices, low: Prices, close: Prices) -> Prices:
    """Compute the position from the prices of the last bars, each `[..., length]`, oldest first."""
    top, bottom = high.max(axis=-1), low.min(axis=-1)
    position: Prices = (close[..., -1] - bottom) / (top - bottom)
    return position


# `exact`: comparisons and one division give the same bits in batch and in stream.
@indicator(inputs=("high", "low", "close"), group="own", reference="of this workspace")
def range_position(length: int = 20) -> Operator:
    """Position of the close in the range of the last bars, from 0 to 1."""
    return Window(_position, length, exact=True)
