"""Windows: a pure function of a symbol's last bars. It keeps no state, so it cannot drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.engine.operator import SINGLE, Axes, Handle, Matrix, Vector, bundle, present, unknown

Function = Callable[..., Any]

CHUNK = 4_000_000
"""Values of one input that are looked at together in a batch: bounds memory whatever the history."""


@dataclass(frozen=True, slots=True)
class Window:
    """`function` of the last `length` bars.

    It is given one float64 array `[..., length]` for each input, oldest first, and returns `[...]`, or a
    tuple of those with one for each of `outputs`.
    """

    function: Function
    length: int
    outputs: tuple[str, ...] = SINGLE
    exact: bool = False
    cross: bool = False

    @property
    def lookback(self) -> int:
        """The window's length."""
        return self.length

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """The function over every window of every symbol."""
        here = present(inputs)
        results = tuple(unknown(here.shape) for _ in self.outputs)
        for column in range(here.shape[1]):
            rows = np.flatnonzero(here[:, column])
            if len(rows) >= self.length:
                self._column([values[rows, column] for values in inputs], rows, column, results)
        return results

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """A handle that holds each symbol's last bars."""
        return _WindowHandle(self, inputs, len(axes.symbols))

    def apply(self, windows: list[Matrix]) -> tuple[Matrix, ...]:
        """The outputs of the function over `windows`."""
        with np.errstate(all="ignore"):
            return bundle(self.function(*windows))

    def _column(
        self, series: list[Vector], rows: npt.NDArray[np.intp], column: int, results: tuple[Matrix, ...]
    ) -> None:
        windows = [np.lib.stride_tricks.sliding_window_view(one, self.length) for one in series]
        step = max(CHUNK // self.length, 1)
        for first in range(0, len(windows[0]), step):
            values = self.apply([one[first : first + step] for one in windows])
            last = rows[self.length - 1 + first : self.length - 1 + first + step]
            for result, value in zip(results, values, strict=True):
                result[last, column] = value


class _WindowHandle:
    """Each symbol's last bars stand at the end of one stretch of a buffer, `[N, place - length : place]`.

    A symbol without a bar has its stretch moved along by one, so the stretches of all stay together.
    """

    def __init__(self, window: Window, history: tuple[Matrix, ...], symbols: int) -> None:
        self._window, self._length = window, window.length
        self._place = window.length
        self._buffers = [np.full((symbols, 3 * window.length + 8), np.nan) for _ in history]
        self._seen = np.zeros(symbols, dtype=np.int64)
        here = present(history)
        for column in range(symbols):
            rows = np.flatnonzero(here[:, column])
            self._seen[column] = len(rows)
            for buffer, values in zip(self._buffers, history, strict=True):
                kept = values[rows[-self._length :], column]
                buffer[column, self._place - len(kept) : self._place] = kept
        self._full = bool((self._seen >= self._length).all())

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Take in one bar; the function of each symbol's window."""
        here = present(inputs)
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
