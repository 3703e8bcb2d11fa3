"""What the parameters of an indicator must be: checks that name the parameter, its value and the way out."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alphaloop.errors import InputError, UnknownNameError

LONGEST = 100_000
"""Bars that a window may have: a typing error must not ask for all the memory of the machine."""


def require_bars(name: str, value: int, least: int = 1) -> int:
    """`value` if it is a number of bars from `least` to `LONGEST`; else `InputError`."""
    if not least <= value <= LONGEST:
        raise InputError(f"{name} is {value}; it must be from {least} to {LONGEST} bars")
    return value


def require_between(name: str, value: float, low: float, high: float) -> float:
    """`value` if `low <= value <= high`; else `InputError`."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name} is {value}; it must be from {low} to {high}")
    return value


def require_positive(name: str, value: float) -> float:
    """`value` if it is finite and above zero; else `InputError`."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}; it must be above 0")
    return value


def require_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """`value` if it is one of `choices`; else `UnknownNameError`."""
    if value not in choices:
        raise UnknownNameError(name, value, choices)
    return value
