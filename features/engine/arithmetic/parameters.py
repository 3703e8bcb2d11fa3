"""Checks of indicator parameters; errors name the parameter, its value and the allowed range."""

from __future__ import annotations

import math
from collections.abc import Sequence

from alphaloop.errors import InputError, UnknownNameError

MAX_WINDOW_BARS = 100_000
"""Maximum bars of a window: a typing error must not allocate all memory of the machine."""


def require_bars(name: str, value: int, least: int = 1) -> int:
    """Return `value` if it is from `least` to `MAX_WINDOW_BARS` bars; raise `InputError` otherwise."""
    if not least <= value <= MAX_WINDOW_BARS:
        raise InputError(f"{name} is {value}; it must be from {least} to {MAX_WINDOW_BARS} bars")
    return value


def require_between(name: str, value: float, low: float, high: float) -> float:
    """Return `value` if `low <= value <= high`; raise `InputError` otherwise."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(f"{name} is {value}; it must be from {low} to {high}")
    return value


def require_positive(name: str, value: float) -> float:
    """Return `value` if it is finite and above zero; raise `InputError` otherwise."""
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}; it must be above 0")
    return value


def require_choice(name: str, value: str, choices: Sequence[str]) -> str:
    """Return `value` if it is one of `choices`; raise `UnknownNameError` otherwise."""
    if value not in choices:
        raise UnknownNameError(name, value, choices)
    return value
