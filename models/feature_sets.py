"""The feature sets of versions: what is computed for them, wherever it is computed again."""

from __future__ import annotations

import logging

from alphaloop.errors import AlphaloopError, FeatureSetMismatchError
from features.sets import FeatureSet
from models.card import Card
from models.registry import Registry

log = logging.getLogger(__name__)


def feature_set_for(card: Card, known: FeatureSet) -> FeatureSet:
    """The set that the version of `card` was trained on: `known`, the settings', or what the card defines.

    A definition may use the indicators of the user's own that `known` does. Raises
    `FeatureSetMismatchError` where the card has none, or it means something else here than in training.
    """
    if card.feature_set == known.hash:
        return known
    short = f"'{card.model}' was trained on feature set {card.feature_set[:12]}"
    if not card.definition:
        raise FeatureSetMismatchError(
            f"{short}, the settings' is {known.hash[:12]}, and its card does not say what is in it; "
            "train it again"
        )
    try:
        found = known.having(card.definition["set"], card.definition["formulas"])
    except AlphaloopError as error:
        raise FeatureSetMismatchError(
            f"{short}, of which something is not to be had here: {error}; name its files in features.files"
        ) from error
    if found.hash != card.feature_set:
        raise FeatureSetMismatchError(
            f"{short}, and what its card defines is {found.hash[:12]} here: an indicator has come to mean "
            "something else; train it again"
        )
    return found


def sets_in_use(
    registry: Registry, model: str, known: FeatureSet, symbols: tuple[str, ...]
) -> list[tuple[FeatureSet, tuple[str, ...]]]:
    """What the versions in the rollout of `model` are scored on: feature sets, and the symbols of each.

    Those are `symbols`, but where a set has ranks: then the version's universe. Nothing for a model without a
    champion. A version whose set is not known here, or whose universe has no bars here, is left out, and the
    log says so.
    """
    document = registry.rollout(model) if model in registry.models() else None
    if document is None:
        return []
    found: dict[tuple[str, tuple[str, ...]], FeatureSet] = {}
    for version in dict.fromkeys((document.champion, document.challenger, document.baseline)):
        if version is None:
            continue
        card = registry.card(model, version)
        try:
            features = feature_set_for(card, known)
        except FeatureSetMismatchError as error:
            log.warning("version %s gets no features: %s", version, error)
            continue
        ranked = bool(features.graph.cross and card.universe)
        if ranked and not set(card.universe) <= set(symbols):
            absent = sorted(set(card.universe) - set(symbols))
            log.warning("version %s ranks symbols that have no bars here: %s", version, ", ".join(absent[:8]))
            continue
        same = not ranked or set(card.universe) == set(symbols)
        found[features.hash, symbols if same else card.universe] = features
    return [(features, universe) for (_, universe), features in found.items()]
