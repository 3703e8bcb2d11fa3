"""Indicators of a user's own, from the Python files that the settings name."""

from __future__ import annotations

from pathlib import Path

from alphaloop.errors import InputError
from alphaloop.plugins import load_file
from features.catalogue import defined_in, versioned
from features.engine.indicator import Indicator


def indicators_of(path: Path) -> list[Indicator]:
    """The indicators that the file defines. It is the user's own code, and is run.

    `InputError` for a file that is not there, that fails (with the line that did) or defines none.
    """
    if not path.is_file() or path.suffix != ".py":
        raise InputError(f"features.files names {path}, which is no Python file")
    found = versioned(defined_in(load_file(path)), path)
    if not found:
        raise InputError(
            f"{path} defines no indicator; decorate a function with features.engine.indicator.indicator"
        )
    return found
