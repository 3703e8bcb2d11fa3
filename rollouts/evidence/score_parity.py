"""Score parity: recompute logged scores from the registered file and the market's bars.

Training-serving skew that passes every health check shows here at once: the server's inputs were not the
features of that bar, or its file was not the registered one. Recomputation is a measurement and needs no
statistics.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel
from alphaloop.errors import DataError, FeatureSetMismatchError
from features.engine.columns import align_symbols
from features.feature_set import FeatureSet
from models.onnx.export import open_session
from models.registry.card import Card
from models.registry.feature_sets_in_use import feature_set_for
from models.registry.model_registry import Registry
from rollouts.evidence.followed_frames import FollowedFrames
from rollouts.evidence.frame_cache import FrameCache
from serving.log.prediction_log import PredictionRow

log = logging.getLogger(__name__)

Scores = npt.NDArray[np.float64]


class ScoreRecomputation:
    """Scores of registered versions, recomputed on backfilled features.

    Parameters
    ----------
    registry : Registry
        Store of the versions' ONNX files and cards; each session is opened once.
    feature_set : FeatureSet
        Feature set of the settings; a version trained on another set is recomputed from the definition on
        its card.
    """

    def __init__(self, registry: Registry, feature_set: FeatureSet) -> None:
        self._registry = registry
        self._feature_set = feature_set
        self._loaded: dict[tuple[str, str], tuple[Card, Any]] = {}
        self._followed = FollowedFrames(feature_set)

    def require(self, card: Card) -> None:
        """Raise `FeatureSetMismatchError` where the features of the version of `card` are not known here."""
        feature_set_for(card, self._feature_set)

    def frames(self, bars: BarPanel) -> FrameCache:
        """Prepare the features of `bars`, for versions of any feature set."""
        return FrameCache(bars, self._feature_set)

    def latest_frames(self, bars: BarPanel) -> FrameCache:
        """Prepare the features of the last of `bars`, which cost the same however many bars there are.

        The first call needs the whole history; later ones at least the bars since the call before.
        """
        return self._followed.at(bars)

    def card(self, model: str, version: str) -> Card:
        """Return the card of a registered version."""
        return self._session(model, version)[0]

    def scores(self, model: str, version: str, frames: FrameCache, index: int) -> Scores:
        """Compute the scores of every symbol at one bar, float64 `[symbols]`.

        Returns NaN where inputs are missing.

        Where a symbol's score depends on the others, only symbols of the version's universe have scores.
        """
        card, session = self._session(model, version)
        frame = frames.of(card)
        window = frame.window(index, card.lookback)
        seen = np.array(card.places(frame.symbols), dtype=np.intp)
        complete = seen[np.isfinite(window[seen]).all(axis=(1, 2))]
        scores = np.full(len(window), np.nan)
        if len(complete):
            scores[complete] = session.run(["scores"], {"panel": window[complete]})[0]
        return align_symbols(scores, frame.symbols, frames.bars.symbols)

    def difference(
        self, row: PredictionRow, frames: FrameCache, beside: PredictionRow | None = None
    ) -> float:
        """Compute the largest difference between a logged answer and its recomputation.

        Infinite where only one of the two has a score, as for a symbol without bars, and where the version's
        features are not known here, because nothing then supports its scores. A symbol with the same
        mismatch in `beside`, the champion's answer, is left out: the online store then lacked values that
        the bars now have. Raises `DataError` for a prediction that names no bar.
        """
        try:
            ours, logged = self._pair(row, frames)
        except FeatureSetMismatchError as error:
            log.warning("version %s of '%s' cannot be recomputed: %s", row.version, row.model, error)
            return float("inf")
        apart = np.isfinite(ours) != np.isfinite(logged)
        if apart.any() and not set(np.array(row.symbols)[apart]) <= self._apart(beside, frames):
            return float("inf")
        return float(np.nanmax(np.abs(ours - logged), initial=0.0))

    def _apart(self, row: PredictionRow | None, frames: FrameCache) -> set[str]:
        """Return the symbols of `row` with either a logged or a recomputed score, but not both."""
        if row is None:
            return set()
        try:
            ours, logged = self._pair(row, frames)
        except FeatureSetMismatchError:
            return set()
        return set(np.array(row.symbols)[np.isfinite(ours) != np.isfinite(logged)].tolist())

    def _pair(self, row: PredictionRow, frames: FrameCache) -> tuple[Scores, Scores]:
        """Return recomputed and logged scores of a row, float64 `[symbols]`."""
        if row.as_of is None:
            raise DataError(f"prediction {row.prediction_id} names no bar, so it cannot be recomputed")
        card, _ = self._session(row.model, row.version)
        index = frames.of(card).index_of(row.as_of)
        recomputed = self.scores(row.model, row.version, frames, index)
        ours = align_symbols(recomputed, frames.bars.symbols, row.symbols)
        return ours, np.asarray(row.scores, dtype=np.float64)

    def _session(self, model: str, version: str) -> tuple[Card, Any]:
        key = (model, version)
        if key not in self._loaded:
            session = open_session(self._registry.onnx(model, version))
            self._loaded[key] = (self._registry.card(model, version), session)
        return self._loaded[key]
