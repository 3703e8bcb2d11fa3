"""What a feature is made of: operators turn input series into output series, once for batch and stream.

A symbol's bar counts for an operator only if all of its inputs are finite there. Elsewhere the outputs
are NaN, and the operator goes on at the next bar as if time had skipped this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from marketdata.trading_days import TradingDays

Matrix = npt.NDArray[np.float64]
"""Bars by symbols, `[T, N]`. Columns are contiguous where operators make them (Fortran order)."""
Vector = npt.NDArray[np.float64]
"""One bar of all symbols, `[N]`."""
Present = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Axes:
    """What the axes of a matrix mean: bar closes in UTC (`[T]`) and symbols (`[N]`).

    `days` are those that the bars' calendar counts.
    """

    times: Timestamps
    symbols: tuple[str, ...]
    days: TradingDays = field(default_factory=TradingDays)

    @classmethod
    def of(cls, times: Timestamps, symbols: tuple[str, ...], calendar: str = "") -> Axes:
        """The axes of bars that follow `calendar`; empty where it is not known."""
        return cls(times, symbols, TradingDays.of(times, calendar))


class Handle(Protocol):
    """An operator that is carried forward bar by bar."""

    def update(self, inputs: tuple[Vector, ...], time: np.datetime64) -> tuple[Vector, ...]:
        """The outputs at one more bar, one `[N]` for each."""
        ...


class Operator(Protocol):
    """From input series to output series.

    `outputs` names what comes out; `lookback` is how many bars the first value needs, that bar
    included; `exact` says that batch and stream agree to the last bit and not only within 1e-9 relative;
    `cross` that it looks at the other symbols of a bar.
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
        """The outputs at every bar, one `[T, N]` for each."""
        ...

    def stream(self, inputs: tuple[Matrix, ...], axes: Axes) -> Handle:
        """A handle that stands after these bars."""
        ...


SINGLE = ("value",)
"""The name of an only output."""


def present(inputs: tuple[npt.NDArray[np.float64], ...]) -> Present:
    """Where all inputs are finite; the shape of one of them."""
    found: Present = np.asarray(np.isfinite(inputs[0]))
    for values in inputs[1:]:
        found &= np.isfinite(values)
    return found


def unknown(shape: tuple[int, int]) -> Matrix:
    """A matrix `[T, N]` of NaN whose columns are contiguous."""
    return np.full(shape[::-1], np.nan).T


def bundle(result: npt.NDArray[np.float64] | tuple[npt.NDArray[np.float64], ...]) -> tuple[Matrix, ...]:
    """One or several outputs, as a tuple."""
    return result if isinstance(result, tuple) else (result,)
