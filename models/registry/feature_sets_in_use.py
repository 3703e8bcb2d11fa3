"""Feature sets of the model versions in rollouts, wherever features are computed again."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from alphaloop.errors import AlphaloopError, DataError, FeatureSetMismatchError
from alphaloop.rollout_document import RolloutDocument
from features.feature_set import FeatureSet
from features.store.window_stream import FeatureSpec
from models.registry.card import Card
from models.registry.model_registry import Registry

log = logging.getLogger(__name__)


def feature_set_for(card: Card, known: FeatureSet) -> FeatureSet:
    """Return the feature set that the version of `card` was trained on.

    It is `known`, the settings' feature set, or the one that the card defines. A definition may use the
    user's own indicators that `known` has. Raises `FeatureSetMismatchError` where the card has no definition,
    or the definition has another hash here than in training.
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
        defined = known.having(card.definition["set"], card.definition["formulas"])
    except AlphaloopError as error:
        raise FeatureSetMismatchError(
            f"{short}, of which something is not to be had here: {error}; name its files in features.files"
        ) from error
    if defined.hash != card.feature_set:
        raise FeatureSetMismatchError(
            f"{short}, and what its card defines is {defined.hash[:12]} here: an indicator has come to mean "
            "something else; train it again"
        )
    return defined


class FeatureSetsInUse:
    """The feature sets and symbols that the versions in rollouts need.

    Call it as often as rollouts may have changed. Each result is a list of feature sets with their symbols:
    the given `symbols`, or the version's universe if the set ranks symbols. Versions whose card cannot be
    used, or whose universe has symbols without bars here, are left out and logged once. Versions whose
    universe has no symbol in `symbols` belong to another market and are ignored silently. Where a rollout
    document cannot be read, the last one of that model counts.
    """

    def __init__(self, registry: Registry, known: FeatureSet, symbols: tuple[str, ...]) -> None:
        self._registry, self._known, self._symbols = registry, known, symbols
        # Cached for good, because the card and the inputs of a version never change.
        self._needs: dict[tuple[str, str], FeatureSpec | None] = {}
        self._documents: dict[str, RolloutDocument] = {}
        self._logged: dict[str, str] = {}

    def __call__(self) -> list[FeatureSpec]:
        """Return the current feature sets and their symbols; errors are those of `Registry.rollouts`."""
        needed: dict[tuple[str, tuple[str, ...]], FeatureSet] = {}
        for document in self._read():
            versions = (document.champion, document.challenger, document.baseline)
            for version in filter(None, dict.fromkeys(versions)):
                need = self._cached_inputs(document.model, version)
                if need is not None:
                    features, universe = need
                    needed[features.hash, universe] = features
        return [(features, universe) for (_, universe), features in needed.items()]

    def _read(self) -> Iterable[RolloutDocument]:
        stored = self._registry.rollouts()
        self._documents = {model: one for model, one in self._documents.items() if model in stored}
        for model, document in stored.items():
            if isinstance(document, RolloutDocument):
                self._documents[model] = document
            else:
                self._log_once(f"'{model}'", f"the features that '{model}' needs cannot be told: {document}")
        return self._documents.values()

    def _cached_inputs(self, model: str, version: str) -> FeatureSpec | None:
        """Return the inputs of one version; None where it gets no features."""
        key = model, version
        if key not in self._needs:
            try:
                self._needs[key] = self._inputs_of(self._registry.card(model, version))
            except AlphaloopError as error:
                subject = f"version {version} of '{model}'"
                self._log_once(subject, f"{subject} gets no features: {error}")
                return None
        return self._needs[key]

    def _log_once(self, subject: str, message: str) -> None:
        """Log `message` about `subject` once, until it changes."""
        if self._logged.get(subject) != message:
            self._logged[subject] = message
            log.warning("%s", message)

    def _inputs_of(self, card: Card) -> FeatureSpec | None:
        if card.universe and set(card.universe).isdisjoint(self._symbols):
            return None
        features = feature_set_for(card, self._known)
        return features, _universe(card, features, self._symbols)


def _universe(card: Card, features: FeatureSet, symbols: tuple[str, ...]) -> tuple[str, ...]:
    """Return the symbols to compute features over; raise `DataError` if some have no bars."""
    ranked = features.graph.cross and card.universe
    if not ranked or set(card.universe) == set(symbols):
        return symbols
    absent = sorted(set(card.universe) - set(symbols))
    if absent:
        raise DataError(f"it ranks symbols that have no bars here: {', '.join(absent[:8])}")
    return card.universe
