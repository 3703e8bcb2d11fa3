"""Indicators of the user's own, from the files that `features.files` names; see also `alphaloop.plugins`."""

from __future__ import annotations

from pathlib import Path

from alphaloop.errors import InputError
from alphaloop.plugins import load_file
from features.catalogue import indicators_defined_in, versioned
from features.engine.indicator import Indicator


def load_user_indicators(path: Path) -> list[Indicator]:
    """Run a user's Python file and return the indicators it defines.

    Raises `InputError` for a file that does not exist, that fails (with the failing line) or that defines no
    indicator.
    """
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"features.files names {path}, which is no Python file")
    found = versioned(indicators_defined_in(load_file(path)), path)
    if not found:
        raise InputError(
            f"{path} defines no indicator; decorate a function with features.engine.indicator.indicator"
        )
    return found
