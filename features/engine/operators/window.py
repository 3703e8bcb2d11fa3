"""Windows: a pure function of a symbol's last bars, without a state that could drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.operator import (
    SINGLE_OUTPUT,
    Axes,
    Handle,
    Matrix,
    Vector,
    all_finite,
    as_outputs,
    nan_matrix,
)

Function = Callable[..., Any]

CHUNK_VALUES = 4_000_000
"""Values of one input processed together in a batch; bounds memory for any length of history."""


@dataclass(frozen=True, slots=True)
class Window:
    """Operator that applies `function` to a symbol's last `length` bars.

    Parameters
    ----------
    function : callable
        Takes one float64 array `[..., length]` for each input, oldest first, and returns `[...]`, or a tuple
        of such arrays with one for each of `outputs`.
    length : int
        Bars of a window.
    outputs : tuple of str, default ("value",)
        Names of the outputs.
    exact : bool, default False
        Whether batch and stream agree to the last bit, which holds if a result does not depend on how many
        windows are computed together.
    cross : bool, default False
        False: a window reads one symbol.

    Examples
    --------
    >>> import numpy as np
    >>> from features.engine.operator import Axes
    >>> from features.engine.operators.window import Window
    >>> times = np.arange("2020-01-01", "2020-01-05", dtype="datetime64[D]").astype("datetime64[ns]")
    >>> close = np.array([[1.0], [2.0], [4.0], [3.0]])
    >>> Window(lambda bars: bars.max(-1), 3).batch((close,), Axes.of(times, ("A",)))[0].ravel().tolist()
    [nan, nan, 4.0, 4.0]
    """

    function: Function
    length: int
    outputs: tuple[str, ...] = SINGLE_OUTPUT
    exact: bool = False
    cross: bool = False

    @property
    def lookback(self) -> int:
        """Length of the window."""
        return self.length

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Apply the function to every window of every symbol."""
        here = all_finite(inputs)
        results = tuple(nan_matrix(here.shape) for _ in self.outputs)
        for column in range(here.shape[1]):
            rows = np.flatnonzero(here[:, column])
            if len(rows) >= self.length:
                self._column([values[rows, column] for values in inputs], rows, column, results)
        return results

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle with each symbol's last bars."""
        return _WindowHandle(self, inputs, len(axes.symbols))

    def apply(self, windows: list[Matrix]) -> tuple[Matrix, ...]:
        """Apply the function to `windows` and return its outputs."""
        with np.errstate(all="ignore"):
            return as_outputs(self.function(*windows))

    def _column(
        self, series: list[Vector], rows: npt.NDArray[np.intp], column: int, results: tuple[Matrix, ...]
    ) -> None:
        windows = [np.lib.stride_tricks.sliding_window_view(one, self.length) for one in series]
        step = max(CHUNK_VALUES // self.length, 1)
        for first in range(0, len(windows[0]), step):
            values = self.apply([one[first : first + step] for one in windows])
            last = rows[self.length - 1 + first : self.length - 1 + first + step]
            for result, value in zip(results, values, strict=True):
                result[last, column] = value


class _WindowHandle:
    """Stream state of a window: each symbol's last bars in a buffer, `[N, place - length : place]`.

    A symbol without a bar has its bars moved along by one, so that those of all symbols stay aligned.
    """

    def __init__(self, window: Window, history: tuple[Matrix, ...], symbols: int) -> None:
        self._window, self._length = window, window.length
        self._place = window.length
        self._buffers = [np.full((symbols, 3 * window.length + 8), np.nan) for _ in history]
        self._seen = np.zeros(symbols, dtype=np.int64)
        here = all_finite(history)
        for column in range(symbols):
            rows = np.flatnonzero(here[:, column])
            self._seen[column] = len(rows)
            for buffer, values in zip(self._buffers, history, strict=True):
                kept = values[rows[-self._length :], column]
                buffer[column, self._place - len(kept) : self._place] = kept
        self._full = bool((self._seen >= self._length).all())

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Append one bar and apply the function to each symbol's window."""
        here = all_finite(inputs)
        everywhere = bool(here.all())
        self._append(inputs, here, everywhere)
        if everywhere and self._full:
            return self._window.apply([self._last(buffer) for buffer in self._buffers])
        ready = here & (self._seen >= self._length)
        results = tuple(np.full(len(here), np.nan) for _ in self._window.outputs)
        if ready.any():
            values = self._window.apply([self._last(buffer)[ready] for buffer in self._buffers])
            for result, value in zip(results, values, strict=True):
                result[ready] = value
        return results

    def _append(self, inputs: tuple[Vector, ...], here: npt.NDArray[np.bool_], everywhere: bool) -> None:
        if self._place == self._buffers[0].shape[1]:
            for buffer in self._buffers:
                buffer[:, : self._length] = self._last(buffer)
            self._place = self._length
        for buffer, values in zip(self._buffers, inputs, strict=True):
            buffer[:, self._place] = values
            if not everywhere:
                kept = slice(self._place - self._length, self._place)
                moved = slice(self._place - self._length + 1, self._place + 1)
                buffer[~here, moved] = buffer[~here, kept]
        self._place += 1
        if not self._full:
            self._seen[here] += 1
            self._full = bool((self._seen >= self._length).all())

    def _last(self, buffer: Matrix) -> Matrix:
        return buffer[:, self._place - self._length : self._place]
