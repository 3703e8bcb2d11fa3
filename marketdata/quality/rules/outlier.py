"""Rule `outlier`: moves out of proportion to those before them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.quality.bar_rows import BarRows, Floats, Indices
from marketdata.quality.finding import Finding, Severity
from marketdata.quality.return_scale import adjusted_closes, scaled_returns
from marketdata.quality.thresholds import Thresholds


def check_outliers(rows: BarRows, thresholds: Thresholds) -> Iterator[Finding]:
    """Find returns, and wicks beyond open and close, of many robust standard deviations of the past."""
    for _, places in rows.groups:
        if len(places) <= thresholds.outlier_history:
            continue
        prices = adjusted_closes(rows, places)
        local = scaled_returns(prices, thresholds)
        with np.errstate(over="ignore"):
            change = prices / prices[local.reference] - 1
        for what, sizes, shares in (("close moved by", local.deviation, change), *_wicks(rows, places)):
            scales = sizes / local.scale
            for index in np.flatnonzero(scales >= thresholds.outlier_scales).tolist():
                severity: Severity = (
                    "error" if scales[index] >= thresholds.outlier_error_scales else "warning"
                )
                times = f"{scales[index]:.0f} times the scale of the bars before"
                value = f"{what} {shares[index]:+.1%}, {times}"
                yield rows.finding("outlier", int(places[index]), value, severity)


def _wicks(rows: BarRows, places: Indices) -> Iterator[tuple[str, Floats, Floats]]:
    opened, high, low, close = (
        np.where(rows.column(name)[0][places] > 0, rows.column(name)[0][places], np.nan)
        for name in ("open", "high", "low", "close")
    )
    top, bottom = np.fmax(opened, close), np.fmin(opened, close)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        yield "high is from open and close", np.log(high / top), high / top - 1
        yield "low is from open and close", np.log(bottom / low), low / bottom - 1
