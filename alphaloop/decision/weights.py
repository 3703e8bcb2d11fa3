"""Weights of a book between two trades: their drift with the prices, and their turnover."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]


def drift_weights(weights: Vector, returns: Vector, gain: float | None = None) -> tuple[Vector, float]:
    """Return the weights after one bar of `returns`, and the return of the book.

    Weights and returns are `[symbols]`. A missing return counts as 0, and cash earns nothing. Give `gain`,
    the return of the book, where `weights` are not all that the book holds. A book that has lost everything
    holds nothing afterwards.
    """
    known = np.nan_to_num(returns)
    gain = float(weights @ known) if gain is None else gain
    if gain <= -1.0:
        return np.zeros(len(weights)), gain
    return weights * (1.0 + known) / (1.0 + gain), gain


def turnover(before: Vector, after: Vector) -> float:
    """Return the one-way turnover, the sum of absolute changes of weight."""
    return float(np.abs(after - before).sum())
