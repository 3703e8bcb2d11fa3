"""Cache of features: those of one history of bars, for versions of any feature set."""

from __future__ import annotations

from alphaloop.bars import BarPanel
from features.compute.batch import FeatureFrame, backfill
from features.feature_set import FeatureSet
from models.registry.card import Card
from models.registry.feature_sets_in_use import feature_set_for


class FrameCache:
    """Features of `bars` by the batch definition, computed once for each feature set and universe.

    Parameters
    ----------
    bars : BarPanel
        The bars.
    known : FeatureSet
        Feature set of the settings.
    sets : dict, optional
        Feature sets by hash, shared by the caches of several histories.
    """

    def __init__(self, bars: BarPanel, known: FeatureSet, sets: dict[str, FeatureSet] | None = None) -> None:
        self.bars, self._known = bars, known
        self._sets = {} if sets is None else sets
        self._made: dict[tuple[str, tuple[str, ...]], FeatureFrame] = {}

    def of(self, card: Card) -> FeatureFrame:
        """Return the features that the version of `card` was trained on.

        Cross-sectional features are computed over the version's universe, as far as there are bars of it.
        Raises `FeatureSetMismatchError` where the version's feature set is not known here.
        """
        bars, features = self.inputs_of(card)
        key = features.hash, bars.symbols
        if key not in self._made:
            self._made[key] = backfill(bars, features)
        return self._made[key]

    def inputs_of(self, card: Card) -> tuple[BarPanel, FeatureSet]:
        """Return the bars and the feature set of the version of `card`; raises as `of` does."""
        if card.feature_set not in self._sets:
            self._sets[card.feature_set] = feature_set_for(card, self._known)
        features, symbols = self._sets[card.feature_set], self.bars.symbols
        if features.graph.cross and card.universe and set(card.universe) != set(symbols):
            symbols = tuple(symbol for symbol in card.universe if symbol in symbols)
            return self.bars.select(symbols), features
        return self.bars, features
