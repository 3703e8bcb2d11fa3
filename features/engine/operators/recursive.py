"""Recursions: a state updated bar by bar; the batch is the stream, run over history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.operator import SINGLE_OUTPUT, Axes, Handle, Matrix, Vector, all_finite, nan_matrix

State = tuple[npt.NDArray[Any], ...]
Start = Callable[[int], State]
Step = Callable[[State, tuple[Vector, ...]], tuple[State, tuple[Vector, ...]]]


@dataclass(frozen=True, slots=True)
class Recursive:
    """Operator with a state: `step(state, inputs)` returns the next state and the outputs of all symbols.

    Parameters
    ----------
    start : callable
        `start(n)` returns the state of `n` symbols before their first bar: arrays with the symbol as leading
        axis.
    step : callable
        Takes the state and one float64 `[n]` for each input, and returns the next state and the outputs. It
        returns new arrays. It is given NaN for symbols without a bar, whose state is then kept unchanged.
    outputs : tuple of str, default ("value",)
        Names of the outputs.
    lookback : int, default 1
        Bars of a symbol until its first output; NaN before.
    exact : bool, default True
        Whether batch and stream agree to the last bit.
    cross : bool, default False
        Whether a step reads other symbols.

    Examples
    --------
    >>> import numpy as np
    >>> from features.engine.operator import Axes
    >>> from features.engine.operators.recursive import Recursive
    >>> def step(state, inputs):
    ...     total = state[0] + inputs[0]
    ...     return (total,), (total,)
    >>> times = np.arange("2020-01-01", "2020-01-04", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> running_sum = Recursive(lambda symbols: (np.zeros(symbols),), step)
    >>> close = np.array([[1.0], [2.0], [4.0]])
    >>> running_sum.batch((close,), Axes.of(times, ("A",)))[0].ravel().tolist()
    [1.0, 3.0, 7.0]
    """

    start: Start
    step: Step
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    lookback: int = 1
    exact: bool = True
    cross: bool = False

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Run the stream over all bars."""
        return _RecursiveHandle(self, len(axes.symbols)).run(inputs)

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle whose state covers these bars."""
        handle = _RecursiveHandle(self, len(axes.symbols))
        handle.run(inputs)
        return handle


class _RecursiveHandle:
    def __init__(self, recursion: Recursive, symbols: int) -> None:
        self._recursion = recursion
        self._state = recursion.start(symbols)
        self._seen = np.zeros(symbols, dtype=np.int64)

    def run(self, inputs: tuple[Matrix, ...]) -> tuple[Matrix, ...]:
        """Step through every bar of `[T, N]` inputs."""
        shape = inputs[0].shape
        results = tuple(nan_matrix(shape) for _ in self._recursion.outputs)
        rows = [np.ascontiguousarray(values) for values in inputs]
        here = all_finite(tuple(rows))
        whole: list[bool] = np.asarray(here.all(axis=1)).tolist()
        with np.errstate(all="ignore"):
            for row in range(shape[0]):
                values = self._advance(tuple(one[row] for one in rows), here[row], whole[row])
                for result, value in zip(results, values, strict=True):
                    result[row] = value
        return results

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Update the state by one bar."""
        here = all_finite(inputs)
        with np.errstate(all="ignore"):
            return self._advance(inputs, here, bool(here.all()))

    def _advance(
        self, inputs: tuple[Vector, ...], here: npt.NDArray[np.bool_], everywhere: bool
    ) -> tuple[Vector, ...]:
        state, outputs = self._recursion.step(self._state, inputs)
        self._seen = self._seen + here
        if everywhere:
            self._state = state
        else:
            self._state = tuple(
                np.where(here.reshape(-1, *([1] * (new.ndim - 1))), new, old)
                for new, old in zip(state, self._state, strict=True)
            )
        ready = here & (self._seen >= self._recursion.lookback)
        if ready.all():
            return outputs
        return tuple(np.where(ready, output, np.nan) for output in outputs)
