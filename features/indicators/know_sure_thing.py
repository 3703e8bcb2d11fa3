"""Know Sure Thing."""

from __future__ import annotations

import numpy as np

from features.engine.arithmetic.division import ratio
from features.engine.arithmetic.parameters import require_between
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array, centred_mean, subwindow_means
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("value", "signal")
LENGTHS = ((10, 10), (15, 10), (20, 10), (30, 15))


@indicator(outputs=OUTPUTS, group="momentum indicators", reference="Pring 1992")
def know_sure_thing(signal: int = 9, scale: float = 1.0) -> Operator:
    """Rates of change over four horizons, averaged and weighted 1 to 4, and its plain average.

    Changes in percent over 10, 15, 20 and 30 bars, averaged over 10, 10, 10 and 15; `scale` stretches
    all of these lengths.
    """
    at_least(1, signal=signal)
    require_between("scale", scale, 0.1, 100.0)
    lengths = [(max(round(a * scale), 1), max(round(b * scale), 1)) for a, b in LENGTHS]

    def values(close: Array) -> tuple[Array, Array]:
        total = np.zeros((*close.shape[:-1], signal))
        for weight, (horizon, smooth) in enumerate(lengths, start=1):
            tail = close[..., -(horizon + smooth + signal - 1) :]
            change = 100.0 * (ratio(tail[..., horizon:], tail[..., :-horizon]) - 1.0)
            total = total + weight * subwindow_means(change, smooth)
        return total[..., -1], centred_mean(total)

    return Window(values, max(a + b for a, b in lengths) + signal - 1, OUTPUTS, exact=True)
