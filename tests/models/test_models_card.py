"""The card: plain JSON that any program can read, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from alphaloop.errors import DamagedStoreError
from models.registry.card import Card

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


def test_the_universe_keeps_trainings_order(tiny_card: MakeCard) -> None:
    """Symbols come back as they went in; the release before finds no key that it does not know."""
    card = tiny_card(b"", universe=("MSFT", "AAPL", "KO"))
    stored = json.loads(card.to_json())
    assert "universe" not in stored and stored["ranges"]["universe"] == ["MSFT", "AAPL", "KO"]
    again = Card.from_json(card.to_json())
    assert again.universe == ("MSFT", "AAPL", "KO") and "universe" not in again.ranges
    assert again.to_json() == card.to_json()
    stored["universe"] = stored["ranges"].pop("universe")
    assert Card.from_json(json.dumps(stored)).universe == card.universe, "as a later release may write it"


def test_a_card_of_before_knows_no_universe(tiny_card: MakeCard) -> None:
    """A card without universe is read, and written again as it was."""
    text = tiny_card(b"").to_json()
    assert "universe" not in text
    assert Card.from_json(text).universe == ()
    assert Card.from_json(text).to_json() == text


def test_the_definition_of_the_features_is_kept_as_it_was(tiny_card: MakeCard) -> None:
    """Texts and formulas come back; the release before finds no key that it does not know."""
    definition = {"set": ["a", "b = mine + 1"], "formulas": {"mine": "close / sma(5)"}}
    card = tiny_card(b"", definition=definition)
    stored = json.loads(card.to_json())
    assert "definition" not in stored and stored["ranges"]["definition"] == definition
    again = Card.from_json(card.to_json())
    assert again.definition == definition and "definition" not in again.ranges
    assert "definition" not in tiny_card(b"").to_json()


def test_the_strategy_of_the_figures_is_kept(tiny_card: MakeCard) -> None:
    """Name, parameters and digest come back; the release before finds no key that it does not know."""
    strategy = {"name": "top-names", "parameters": {"count": 3}, "digest": "d" * 64}
    card = tiny_card(b"", strategy=strategy)
    stored = json.loads(card.to_json())
    assert "strategy" not in stored and stored["ranges"]["strategy"] == strategy
    again = Card.from_json(card.to_json())
    assert again.strategy == strategy and "strategy" not in again.ranges
    assert "strategy" not in tiny_card(b"").to_json()


def test_what_the_file_is_given_together(tiny_card: MakeCard) -> None:
    """Everybody, in the order at hand; where scores depend on each other the universe, in training's."""
    given = ("KO", "AAPL", "PFE", "MSFT")
    for changes in ({}, {"universe": ("MSFT", "KO")}, {"cross_sectional": True}):
        assert tiny_card(b"", **changes).places(given) == [0, 1, 2, 3]
    whole = tiny_card(b"", universe=("MSFT", "GE", "KO"), cross_sectional=True)
    assert whole.places(given) == [3, 0]
