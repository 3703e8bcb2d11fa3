"""Numbers of model versions: whole numbers from 1, with only one spelling."""

from __future__ import annotations

import re

MAX_DIGITS = 9
"""Largest number of digits: registries store version numbers as 32-bit integers."""
_NUMBER = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}", re.ASCII)


def is_version_number(text: str) -> bool:
    """Test for the number of a version, written without leading zero, sign or blank.

    A second spelling of a number would be a second version wherever versions are stored by name.
    """
    return _NUMBER.fullmatch(text) is not None
