"""Interface of operators: input series to output series, defined once for batch and stream.

A symbol's bar counts for an operator only if all of its inputs are finite there. Elsewhere the outputs are
NaN, and the operator continues at the next bar as if the skipped one did not exist.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from marketdata.trading_days import TradingDays

Matrix = npt.NDArray[np.float64]
"""Bars by symbols, `[T, N]`. Operators return contiguous columns (Fortran order)."""
Vector = npt.NDArray[np.float64]
"""One bar of all symbols, `[N]`."""
FiniteMask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Axes:
    """Axes of a matrix: bar closes in UTC (`[T]`) and symbols (`[N]`).

    `days` are the trading days of the bars' calendar.
    """

    times: Timestamps
    symbols: tuple[str, ...]
    days: TradingDays = field(default_factory=TradingDays)

    @classmethod
    def of(cls, times: Timestamps, symbols: tuple[str, ...], calendar: str = "") -> Axes:
        """Return the axes of bars that follow `calendar`; empty if it is not known."""
        return cls(times, symbols, TradingDays.of(times, calendar))


class Handle(Protocol):
    """State of an operator in a stream, updated bar by bar."""

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """Return the outputs at one more bar, one `[N]` for each."""
        ...


class Operator(Protocol):
    """Function from input series to output series.

    `outputs` are the names of the outputs. `lookback` is the number of bars until the first value, that bar
    included. `exact` promises that batch and stream agree to the last bit, and not only within 1e-9 relative.
    `cross` says that the operator reads other symbols of a bar.
    """

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def lookback(self) -> int: ...

    @property
    def exact(self) -> bool: ...

    @property
    def cross(self) -> bool: ...

    def batch(self, inputs: tuple[Matrix, ...], axes: Axes) -> tuple[Matrix, ...]:
        """Return the outputs at every bar, one `[T, N]` for each."""
        ...

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """Return a handle whose state covers these bars."""
        ...


SINGLE_OUTPUT = ("value",)
"""Names of the outputs of an operator with a single one."""


def all_finite(inputs: tuple[npt.NDArray[np.float64], ...]) -> FiniteMask:
    """Return where all inputs are finite, in the shape of one of them."""
    finite: FiniteMask = np.asarray(np.isfinite(inputs[0]))
    for values in inputs[1:]:
        finite &= np.isfinite(values)
    return finite


def nan_matrix(shape: tuple[int, int]) -> Matrix:
    """Return a matrix `[T, N]` of NaN whose columns are contiguous."""
    return np.full(shape[::-1], np.nan).T


def as_outputs(result: npt.NDArray[np.float64] | tuple[npt.NDArray[np.float64], ...]) -> tuple[Matrix, ...]:
    """Return one or several outputs as a tuple."""
    return result if isinstance(result, tuple) else (result,)
