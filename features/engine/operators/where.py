"""Choice between two series at each bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector


@dataclass(frozen=True, slots=True)
class Where:
    """Select the second input where the first is true, else the third.

    True is any value but 0; the result is NaN where the first input is NaN. Unlike in other operators, the
    input that is not selected may be NaN, so that a division by zero can be excluded. `constants` replace
    inputs that do not vary; None for those that do.
    """

    constants: tuple[float | None, float | None, float | None] = (None, None, None)
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    lookback: int = 1
    exact: bool = True
    cross: bool = False

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Select at every bar."""
        return (self._choose(inputs),)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a stateless handle."""
        return _WhereHandle(self)

    def _choose(self, inputs: tuple[Matrix, ...]) -> Matrix:
        coming = iter(inputs)
        condition, chosen, other = (
            next(coming) if constant is None else constant for constant in self.constants
        )
        result = np.where(np.not_equal(condition, 0.0), chosen, other)
        known = np.isfinite(condition) & np.isfinite(result)
        return result if known.all() else np.where(known, result, np.nan)


class _WhereHandle:
    def __init__(self, choice: Where) -> None:
        self._choice = choice

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Select at one more bar."""
        return (self._choice._choose(inputs),)
