"""Numbers of model versions: whole numbers from 1, written in one way only."""

from __future__ import annotations

import re

# Registries keep them as 32-bit integers.
MAX_DIGITS = 9
_NUMBER = re.compile(rf"[1-9][0-9]{{0,{MAX_DIGITS - 1}}}", re.ASCII)


def is_version_number(text: str) -> bool:
    """Test for a version's number: digits without a leading zero, a sign or a blank.

    A second spelling of a number would be a second version wherever versions are kept by name.
    """
    return _NUMBER.fullmatch(text) is not None
