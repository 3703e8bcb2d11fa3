"""Volume profile: the prices at which the last bars traded."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alphaloop.errors import InputError
from features.engine.arithmetic.parameters import require_between
from features.engine.arithmetic.smoothing import at_least
from features.engine.arithmetic.subwindows import Array
from features.engine.indicator import indicator
from features.engine.operator import Operator
from features.engine.operators.window import Window

OUTPUTS = ("point_of_control", "value_area_high", "value_area_low")


@indicator(("high", "low", "volume"), OUTPUTS, group="volume indicators", reference="Steidlmayer 1984")
def volume_profile(length: int = 50, bins: int = 24, share: float = 0.7) -> Operator:
    """Price that traded most, and the prices around it that hold `share` of the volume.

    A bar's volume is spread evenly from its low to its high, over `bins` of equal height between the
    lowest low and the highest high of `length` bars. The point of control is the middle of the fullest
    bin (the lowest of equals); the area grows by the fuller neighbour (the lower of equals) until it
    holds the share. NaN where nothing traded.
    """
    at_least(1, length=length)
    require_between("bins", bins, 1, 1000)
    if not 0.0 < share <= 1.0:
        raise InputError(f"'share' is {share:g}; it must be above 0 and at most 1")

    def profile(high: Array, low: Array, volume: Array) -> tuple[Array, ...]:
        bottom, top = low.min(axis=-1), high.max(axis=-1)
        height = (top - bottom) / bins
        volumes = _spread(high, low, volume, bottom, height, bins)
        control = volumes.argmax(axis=-1)
        first, last = _value_area(volumes, control, share)
        levels = (bottom + (control + 0.5) * height, bottom + (last + 1.0) * height, bottom + first * height)
        traded = volumes.sum(axis=-1) > 0.0
        return tuple(np.where(traded, level, np.nan) for level in levels)

    return Window(profile, length, OUTPUTS, exact=True)


def _spread(high: Array, low: Array, volume: Array, bottom: Array, height: Array, bins: int) -> Array:
    """Return volume by bin, `[..., bins]`; a bar without a range falls into one bin."""
    unit = np.where(height > 0.0, height, 1.0)[..., None]
    lower, upper = (low - bottom[..., None]) / unit, (high - bottom[..., None]) / unit
    extent = upper - lower
    ranged = extent > 0.0
    density = np.where(ranged, volume, 0.0) / np.where(ranged, extent, 1.0)
    only = np.where(ranged, -1.0, np.clip(np.floor(lower), 0.0, bins - 1.0))
    points = not ranged.all()
    volumes = np.empty((*bottom.shape, bins))
    for place in range(bins):
        overlap = np.minimum(upper, place + 1.0) - np.maximum(lower, float(place))
        inside = np.maximum(overlap, 0.0) * density
        if points:
            inside = np.where(only == place, volume, inside)
        volumes[..., place] = inside.sum(axis=-1)
    return volumes


def _value_area(volumes: Array, control: npt.NDArray[np.intp], share: float) -> tuple[Array, Array]:
    """Return the first and the last bin of the area around the fullest."""
    rows: tuple[npt.NDArray[np.intp], ...] = tuple(np.indices(control.shape, sparse=True))
    bins = volumes.shape[-1]
    edged = np.concatenate(
        [np.full((*control.shape, 1), -1.0), volumes, np.full((*control.shape, 1), -1.0)], axis=-1
    )
    first, last = control.copy(), control.copy()
    held = edged[(*rows, control + 1)]
    wanted = share * volumes.sum(axis=-1)
    for _ in range(bins - 1):
        below, above = edged[(*rows, first)], edged[(*rows, last + 2)]
        growing = held < wanted
        if not growing.any():
            break
        down = growing & (below >= above) & (first > 0)
        up = growing & ~down & (last < bins - 1)
        held = held + np.where(down, below, 0.0) + np.where(up, above, 0.0)
        first, last = first - down, last + up
    return first.astype(np.float64), last.astype(np.float64)
