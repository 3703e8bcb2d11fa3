"""Values become what JSON holds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path

import numpy as np

from alphaloop.runtime.jsonable import to_jsonable


class Side(Enum):
    BUY = "buy"


@dataclass
class Row:
    price: Decimal
    at: datetime


def test_every_kind_of_value_has_its_json_form() -> None:
    """Money stays text, times are ISO 8601, arrays lists, and what is not finite null, at any depth."""
    given = {
        1: Row(Decimal("1.50"), datetime(2020, 1, 2, 3, 4, tzinfo=UTC)),
        "days": (date(2020, 1, 2),),
        "side": Side.BUY,
        "path": Path("a/b"),
        "scores": np.array([[1.0, np.nan], [np.inf, -2.0]], np.float32),
        "count": np.int64(3),
        "none": float("nan"),
        "flag": np.bool_(True),
    }
    expected = {
        "1": {"price": "1.50", "at": "2020-01-02T03:04:00+00:00"},
        "days": ["2020-01-02"],
        "side": "buy",
        "path": "a/b",
        "scores": [[1.0, None], [None, -2.0]],
        "count": 3,
        "none": None,
        "flag": True,
    }
    assert to_jsonable(given) == expected
    assert json.loads(json.dumps(to_jsonable(given), allow_nan=False)) == expected
