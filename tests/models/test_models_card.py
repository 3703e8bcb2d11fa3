"""The card: plain JSON that any program can read, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from alphaloop.errors import DamagedStoreError
from models.card import Card

MakeCard = Callable[..., Card]


def test_figures_that_could_not_be_had_are_null(tiny_card: MakeCard) -> None:
    """NaN, infinity and numpy values leave the card as plain JSON."""
    card = replace(
        tiny_card(b""),
        metrics={"ic": np.float32(0.5), "ic_tstat": math.nan},
        ranges={"turnover": np.array([0.1, np.inf])},
    )
    stored = json.loads(card.to_json())
    assert stored["metrics"] == {"ic": 0.5, "ic_tstat": None}
    assert stored["ranges"] == {"turnover": [0.1, None]}
    again = Card.from_json(card.to_json())
    assert again.to_json() == card.to_json()
    assert math.isnan(again.metric("ic_tstat")) and math.isnan(again.metric("absent"))
    assert again.metric("ic") == 0.5


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "x"}', "not json"])
def test_what_is_no_card_is_refused(text: str) -> None:
    """Text that is not a whole card is a damaged store, never a traceback."""
    with pytest.raises(DamagedStoreError, match="model card"):
        Card.from_json(text)


def test_a_card_with_unknown_keys_is_refused(tiny_card: MakeCard) -> None:
    """A key that no card has is named."""
    stored = json.loads(tiny_card(b"").to_json()) | {"extra": 1}
    with pytest.raises(DamagedStoreError, match=r"unknown keys: extra"):
        Card.from_json(json.dumps(stored))
