"""Replay: a journaled decision computed again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaloop.errors import ChainBrokenError
from alphaloop.orders import Order
from trading.decision import DecisionInputs, decide


def redecide(body: Mapping[str, Any]) -> list[Order]:
    """The orders that follow from the body of a `decision` record: identical to those sent then.

    Raises `ChainBrokenError` for a body that is not a decision.
    """
    try:
        inputs = DecisionInputs.from_body(body)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise ChainBrokenError(f"this is not the body of a decision: {error!r}") from error
    return list(decide(inputs).orders)
