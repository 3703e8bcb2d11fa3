"""Mask of a series until it has settled and no longer depends on where history begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector


@dataclass(frozen=True, slots=True)
class WarmupMask:
    """The input without each symbol's first `skip` finite values, which become NaN."""

    skip: int
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = True
    cross: bool = False

    @property
    def lookback(self) -> int:
        """Skipped values, and the first one kept."""
        return self.skip + 1

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Mask the first values of each symbol."""
        values = inputs[0]
        return (np.where(np.isfinite(values).cumsum(axis=0) > self.skip, values, np.nan),)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle with the count of finite values in these bars."""
        return _WarmupMaskHandle(self.skip, np.isfinite(inputs[0]).sum(axis=0))


class _WarmupMaskHandle:
    def __init__(self, skip: int, seen: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> None:
        self._skip, self._seen = skip, seen

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Return the input at one more bar, NaN for symbols that have not settled."""
        values = inputs[0]
        self._seen = self._seen + np.isfinite(values)
        return (np.where(self._seen > self._skip, values, np.nan),)
