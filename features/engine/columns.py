"""Columns of bars as features read them: adjusted prices and volume, further columns unchanged.

Prices are those as traded times `adjustment`; volume is divided by it, so that the value traded is unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alphaloop.bars import PRICE_COLUMNS, BarPanel, FloatMatrix, Slice
from alphaloop.errors import DataError

VOLUME = "volume"


def adjusted_columns(bars: BarPanel | Slice, names: Sequence[str]) -> dict[str, FloatMatrix]:
    """Return columns of `bars` by name, adjusted: `[T, N]` of a panel, `[N]` of a slice.

    Raises `DataError` for a column that these bars do not have.
    """
    return {name: _column(bars, name) for name in names}


def contiguous_columns(bars: BarPanel, names: Sequence[str]) -> dict[str, FloatMatrix]:
    """Return adjusted columns of a panel, each contiguous in memory by symbol as operators read them."""
    return {name: np.asfortranarray(values) for name, values in adjusted_columns(bars, names).items()}


def require_columns(bars: BarPanel, needed: Sequence[tuple[str, tuple[str, ...]]]) -> None:
    """Raise `DataError` if a feature (name, columns it needs) lacks a column.

    A column without a single value counts as missing.
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


def align_symbols(values: FloatMatrix, have: tuple[str, ...], want: tuple[str, ...]) -> FloatMatrix:
    """Reorder one bar's values `[N]` to the symbols `want`; NaN for symbols it lacks."""
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
