"""Lag: the value some bars ago."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix
from features.engine.operators.window import Window


@dataclass(frozen=True, slots=True)
class Lag:
    """Value of `bars` bars ago, counted in the symbol's own bars."""

    bars: int
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = True
    cross: bool = False

    @property
    def lookback(self) -> int:
        """Lag plus the bar itself."""
        return self.bars + 1

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Shift the values down."""
        values = inputs[0]
        moved = np.full(values.shape[::-1], np.nan).T
        for column in range(values.shape[1]):
            rows = np.flatnonzero(np.isfinite(values[:, column]))
            moved[rows[self.bars :], column] = values[rows[: max(len(rows) - self.bars, 0)], column]
        return (moved,)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle that holds the values since."""
        return Window(_oldest, self.lookback, exact=True).stream(inputs, axes)


def _oldest(windows: Matrix) -> Matrix:
    return windows[..., 0].copy()
