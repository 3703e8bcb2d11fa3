"""Values as JSON holds them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any


def to_jsonable(value: Any) -> Any:
    """Convert `value`, and all that is in it, to what JSON holds.

    Dataclasses and mappings become objects, other collections and arrays lists, NaN and infinity null, and
    single values what `plain_value` says. What has no JSON form is returned as it is.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return to_jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_jsonable(inner) for inner in value]
    plain = plain_value(value)
    if isinstance(plain, list):
        return to_jsonable(plain)
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def plain_value(value: Any) -> Any:
    """Convert one value: decimals and paths to text, times to ISO 8601, numpy's values to Python's.

    Any other value is returned as it is.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal | Path):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    # Numpy's scalars and arrays, which this module need not import.
    return value.tolist() if hasattr(value, "tolist") else value
