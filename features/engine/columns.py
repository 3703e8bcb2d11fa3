"""What features see of bars: adjusted prices, volume adjusted against them, and further columns as they are.

Prices are those as traded times `adjustment`; volume is divided by it, so that the value traded stays
what it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphaloop.bars import PRICE_COLUMNS, BarPanel, FloatMatrix, Slice
from alphaloop.errors import DataError

VOLUME = "volume"


def adjusted(bars: BarPanel | Slice, names: Sequence[str]) -> dict[str, FloatMatrix]:
    """The columns `names` of `bars` by name, `[T, N]` of a panel and `[N]` of a slice.

    Raises `DataError` for a column that these bars do not have.
    """
    return {name: _column(bars, name) for name in names}


def columns(bars: BarPanel, names: Sequence[str]) -> dict[str, FloatMatrix]:
    """`adjusted` of a panel, each column one stretch of memory: that is how operators read them."""
    return {name: np.asfortranarray(values) for name, values in adjusted(bars, names).items()}


def require(bars: BarPanel, needed: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Raise `DataError` for a feature (name, columns it needs) that lacks a column.

    A column of the bars without a single value counts as one that is not there.
    """
    for feature, names in needed:
        for name in names:
            if name not in (*PRICE_COLUMNS, VOLUME) and name not in bars.extra:
                raise DataError(
                    f"feature '{feature}' needs the column '{name}', which these bars do not have; they "
                    f"have: {', '.join((*PRICE_COLUMNS, VOLUME, *bars.extra))}"
                )
            if name not in bars.extra and len(bars) and not np.isfinite(getattr(bars, name)).any():
                raise DataError(f"feature '{feature}' needs '{name}', which these bars do not have")


def aligned(values: FloatMatrix, have: tuple[str, ...], want: tuple[str, ...]) -> FloatMatrix:
    """One bar's values `[N]` in another order of symbols, NaN for those it lacks."""
    if have == want:
        return values
    column = {symbol: index for index, symbol in enumerate(have)}
    return np.array([values[column[s]] if s in column else np.nan for s in want], dtype=np.float64)


def _column(bars: BarPanel | Slice, name: str) -> FloatMatrix:
    if name in PRICE_COLUMNS:
        price: FloatMatrix = getattr(bars, name) * bars.adjustment
        return price
    if name == VOLUME:
        return bars.volume / bars.adjustment
    if name not in bars.extra:
        raise DataError(
            f"these bars have no column '{name}'; besides prices they have: {', '.join(bars.extra)}"
        )
    return bars.extra[name]
