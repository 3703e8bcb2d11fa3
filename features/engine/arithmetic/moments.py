"""Sample moments of windows, `[..., length]` to `[...]`, robust to huge, tiny and constant values.

Values are centred on the window's last one before summation, so a constant window has moments of exactly
zero, and a small variation on a large level loses no digits. A window that is flat to within `FLAT` of its
own size counts as constant, because what is left there is rounding.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.engine.arithmetic.division import ratio

Values = npt.NDArray[np.float64]

FLAT = 1e-12
"""Relative deviation below which a window counts as constant."""


def deviations(windows: Values) -> Values:
    """Subtract the window's mean, `[..., length]`; all 0 where the window is flat."""
    last = windows[..., -1:]
    shifted = windows - last
    centred: Values = shifted - np.add.reduce(shifted, axis=-1, keepdims=True) / windows.shape[-1]
    # In a flat window every value has the same size, so the last one serves as scale.
    flat = np.maximum.reduce(np.abs(centred), axis=-1, keepdims=True) <= FLAT * np.abs(last)
    return np.where(flat, 0.0, centred) if flat.any() else centred


def window_mean(windows: Values) -> Values:
    """Return the mean, `[...]`."""
    shifted = windows - windows[..., -1:]
    result: Values = windows[..., -1] + np.add.reduce(shifted, axis=-1) / windows.shape[-1]
    return result


def window_variance(windows: Values, freedom: int = 1) -> Values:
    """Return the sum of squared deviations over `length - freedom`, `[...]`."""
    centred = deviations(windows)
    result: Values = np.add.reduce(centred * centred, axis=-1) / (windows.shape[-1] - freedom)
    return result


def covariance(first: Values, second: Values) -> Values:
    """Return the sum of products of deviations over `length - 1`, `[...]`."""
    products = deviations(first) * deviations(second)
    result: Values = np.add.reduce(products, axis=-1) / (first.shape[-1] - 1)
    return result


def correlation(first: Values, second: Values) -> Values:
    """Return Pearson's correlation, from -1 to 1, `[...]`; NaN where a window is constant."""
    one, other = _scaled(deviations(first)), _scaled(deviations(second))
    product = np.add.reduce(one * other, axis=-1)
    size = np.sqrt(np.add.reduce(one * one, axis=-1) * np.add.reduce(other * other, axis=-1))
    return np.minimum(np.maximum(ratio(product, size), -1.0), 1.0)


def regression_slope(dependent: Values, explaining: Values) -> Values:
    """Return the least-squares slope of `dependent` on `explaining`; NaN where the latter is constant."""
    rise, run = deviations(dependent), deviations(explaining)
    size = np.maximum.reduce(np.abs(run), axis=-1, keepdims=True)
    # Scaled, so that volumes of 1e12 and prices of 1e-9 neither overflow nor vanish.
    run = ratio(run, size, 0.0)
    square = np.add.reduce(run * run, axis=-1) * size[..., 0]
    return ratio(np.add.reduce(rise * run, axis=-1), square)


def standardised_moment(windows: Values, order: int) -> Values:
    """Return the mean of deviations over population standard deviation to `order`; NaN if constant."""
    scaled = _scaled(deviations(windows))
    square = (scaled * scaled).mean(axis=-1)
    power = scaled * scaled
    for _ in range(order - 2):
        power = power * scaled
    return ratio(power.mean(axis=-1), np.sqrt(square) ** order)


def window_quantile(windows: Values, share: float) -> Values:
    """Return the `share` quantile, linear between order statistics (Hyndman and Fan 1996, type 7)."""
    ordered = np.sort(windows, axis=-1)
    position = share * (windows.shape[-1] - 1)
    low = int(position)
    high = min(low + 1, windows.shape[-1] - 1)
    result: Values = ordered[..., low] + (ordered[..., high] - ordered[..., low]) * (position - low)
    return result


def window_simple_returns(windows: Values) -> Values:
    """Return relative changes between neighbours, `[..., length - 1]`; NaN after a zero."""
    return ratio(windows[..., 1:] - windows[..., :-1], windows[..., :-1])


def log_ratio(numerator: Values, denominator: Values) -> Values:
    """Return the logarithm of `numerator / denominator`; NaN unless both are above zero."""
    usable = (numerator > 0) & (denominator > 0)
    if usable.all():
        return np.log(numerator / denominator)
    return np.log(np.where(usable, numerator / np.where(usable, denominator, 1.0), np.nan))


def window_log_returns(windows: Values) -> Values:
    """Return logarithms of the ratios of neighbours, `[..., length - 1]`; NaN unless both are above zero."""
    return log_ratio(windows[..., 1:], windows[..., :-1])


def _scaled(centred: Values) -> Values:
    return ratio(centred, np.maximum.reduce(np.abs(centred), axis=-1, keepdims=True), 0.0)
