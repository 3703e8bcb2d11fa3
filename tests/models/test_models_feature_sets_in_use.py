"""The feature set of a version: its card says what it is, and whoever computes it again checks that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from alphaloop.errors import FeatureSetMismatchError
from alphaloop.rollout_document import RolloutDocument, RolloutState
from features.feature_set import DEFINITION_VERSION, FeatureSet
from features.user_indicators import load_user_indicators
from models.registry.card import Card
from models.registry.feature_sets_in_use import FeatureSetsInUse, feature_set_for
from models.registry.model_registry import ROLLOUT_TAG, Registry

MakeCard = Callable[..., Card]
KNOWN = FeatureSet(("return_1", "rsi(14)"))
OTHER = FeatureSet(("trend = mine - 1", "rsi(5)"), {"mine": "close / sma(7)"})
RANKED = FeatureSet(("rank(return_5)",))
OWN = """
from features.engine.indicator import indicator
from features.engine.operators.window import Window

@indicator(inputs=("close",), group="own")
def middle(length: int = {length}):
    \"\"\"Half of the span.\"\"\"
    return Window(lambda x: (x.max(-1) + x.min(-1)) / 2, length, exact=True)
"""


def of(card: MakeCard, features: FeatureSet, content: bytes = b"", **changes: object) -> Card:
    """The card of a version, with the file `content`, that was trained on `features`."""
    values = {"feature_set": features.hash, "features": features.names, "definition": features.definition}
    return card(content, **(values | changes))


def test_a_set_is_made_again_from_its_card(tiny_card: MakeCard) -> None:
    """With formulas of the user's own that the settings no longer hold; the settings' set is itself."""
    assert feature_set_for(of(tiny_card, OTHER), KNOWN).hash == OTHER.hash
    assert feature_set_for(of(tiny_card, KNOWN), KNOWN) is KNOWN


def test_a_card_of_before_is_of_the_settings_set_or_unknown(tiny_card: MakeCard) -> None:
    """Without a definition there is nothing to compute."""
    assert feature_set_for(of(tiny_card, KNOWN, definition={}), KNOWN) is KNOWN
    with pytest.raises(FeatureSetMismatchError, match="does not say what is in it; train it again"):
        feature_set_for(of(tiny_card, OTHER, definition={}), KNOWN)


def test_a_set_with_own_indicators_needs_them_as_they_were(tiny_card: MakeCard, tmp_path: Path) -> None:
    """Without its file it is not to be had; with one that means something else it is not the same."""
    known = {}
    for length in (5, 9):
        file = tmp_path / f"own_{length}.py"
        file.write_text(OWN.format(length=length))
        known[length] = FeatureSet(("rsi(14)",), None, load_user_indicators(file))
    trained = known[5].having(["middle"])
    card = of(tiny_card, trained)
    assert feature_set_for(card, known[5]).hash == trained.hash
    with pytest.raises(FeatureSetMismatchError, match=r"not to be had here.*middle.*features\.files"):
        feature_set_for(card, KNOWN)
    with pytest.raises(FeatureSetMismatchError, match="has come to mean something else"):
        feature_set_for(card, known[9])


def test_what_is_in_use_are_the_sets_of_rollouts_versions(
    tiny_card: MakeCard, tiny_onnx: Callable[..., bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of every model, ranks over each version's universe; what nobody could compute is left out and named."""
    registry, symbols = Registry(tmp_path), ("A", "B", "C", "D")
    in_use = FeatureSetsInUse(registry, KNOWN, symbols)
    assert in_use() == []
    content = tiny_onnx()
    for features, universe in ((RANKED, ("C", "A")), (OTHER, ("C", "A")), (RANKED, ("A", "Z"))):
        registry.register("equities", content, of(tiny_card, features, content, universe=universe))
    registry.register("metals", content, of(tiny_card, RANKED, content, model="metals", universe=("X", "Y")))
    registry.write_rollout(RolloutDocument("metals", "1"), None)
    registry.register("bonds", content, of(tiny_card, KNOWN, content, model="bonds"))
    registry.register("bonds", content, of(tiny_card, OTHER, content, model="bonds", definition={}))
    assert in_use() == []
    document = RolloutDocument("equities", "1", challenger="2", state=RolloutState.SHADOW)
    registry.write_rollout(document, None)
    registry.write_rollout(RolloutDocument("bonds", "1", challenger="2", state=RolloutState.SHADOW), None)
    found = in_use()
    expected = {(RANKED.hash, ("C", "A")), (OTHER.hash, symbols), (KNOWN.hash, symbols)}
    assert {(one.hash, universe) for one, universe in found} == expected
    assert "version 2 of 'bonds' gets no features" in caplog.text and "metals" not in caplog.text
    in_use()
    assert caplog.text.count("version 2 of 'bonds'") == 1, "it is said with every bar"
    registry.store.tag_model("bonds", ROLLOUT_TAG, '{"champion": ["1"]}')
    assert {one.hash for one, _ in in_use()} == {RANKED.hash, OTHER.hash, KNOWN.hash}, "one model stops all"
    assert caplog.text.count("the features that 'bonds' needs cannot be told") == 1
    registry.write_rollout(document.next(champion="3", challenger=None, state=RolloutState.STEADY), 1)
    assert [one.hash for one, _ in in_use()] == [KNOWN.hash]
    assert (
        "version 3 of 'equities' gets no features: it ranks symbols that have no bars here: Z" in caplog.text
    )


def test_a_model_of_places_is_not_answered_with_ages(tiny_card: MakeCard) -> None:
    """A model trained when maxindex gave places in the array is refused by name, now that it gives ages."""
    trained = FeatureSet(["return_1", "x = maxindex(30)"])
    node = trained.features[1].column.node
    assert node.definition["version"] == 2
    places = replace(node, definition={**node.definition, "version": 1})
    of_before = [
        trained.features[0].definition(),
        trained.features[1].definition() | {"graph": f"{places.key}:0"},
    ]
    content = json.dumps([DEFINITION_VERSION, of_before], sort_keys=True).encode()
    before = of(tiny_card, trained, feature_set=hashlib.sha256(content).hexdigest())
    with pytest.raises(
        FeatureSetMismatchError, match=r"'equities' was trained on .* has come to mean something else"
    ):
        feature_set_for(before, KNOWN)
