"""Rules `price`, `check_ohlc` and `nan`: values no market can print, and missing values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaloop.bars import PRICE_COLUMNS, PRICE_TOLERANCE
from marketdata.quality.bar_rows import BarRows, true_runs
from marketdata.quality.finding import Finding


def check_prices(rows: BarRows) -> Iterator[Finding]:
    """Find prices and adjustments that are not positive and finite, and negative volumes."""
    for name in (*PRICE_COLUMNS, "adjustment"):
        values, _ = rows.column(name)
        for row in np.flatnonzero((values <= 0) | np.isinf(values)).tolist():
            yield rows.finding("price", row, f"{name} is {values[row]:g}; it must be positive")
    volume, _ = rows.column("volume")
    for row in np.flatnonzero((volume < 0) | np.isinf(volume)).tolist():
        wrong = "infinite" if np.isinf(volume[row]) else "negative"
        yield rows.finding("price", row, f"volume is {volume[row]:g}; it cannot be {wrong}")


def check_ohlc(rows: BarRows) -> Iterator[Finding]:
    """Find highs below, and lows above, another price of the same bar by more than rounding.

    Prices that were multiplied by a factor, or were float32 once, differ in their last digits. Missing values
    are not compared.
    """
    opened, high, low, close = (rows.column(name)[0] for name in PRICE_COLUMNS)
    with np.errstate(invalid="ignore"):
        for name, values, wrong in (
            ("high", high, [(other, high < other * (1 - PRICE_TOLERANCE)) for other in (opened, low, close)]),
            ("low", low, [(other, low > other * (1 + PRICE_TOLERANCE)) for other in (opened, close)]),
        ):
            verb = "below" if name == "high" else "above"
            for row in np.flatnonzero(np.logical_or.reduce([flags for _, flags in wrong])).tolist():
                against = next(other[row] for other, flags in wrong if flags[row])
                yield rows.finding(
                    "ohlc", row, f"{name} {values[row]:.9g} is {verb} {against:.9g} of its own bar"
                )


def check_missing_values(rows: BarRows) -> Iterator[Finding]:
    """Find runs of missing values: always an error in close and adjustment.

    In other columns null means "not given", and only NaN is an error.
    """
    for name in (*PRICE_COLUMNS, "volume", "adjustment"):
        values, null = rows.column(name)
        absent = np.isnan(values)
        if name not in ("close", "adjustment"):
            absent &= ~null
        if not absent.any():
            continue
        for _, places in rows.groups:
            for first, count in true_runs(absent[places]):
                yield rows.finding(
                    "nan", int(places[first]), f"{name} is NaN for {count} bars in a row", bars=count
                )
