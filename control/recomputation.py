"""Recomputation: do the logged scores follow from the registered file and the market's own bars?

The training-serving skew that passes every health check shows here at once: the server's inputs were
not the features of that bar, or its file was not the registered one. It is a measurement and needs
no statistics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.errors import DataError
from alphaloop.market import BarPanel
from features.build import FeatureFrame, backfill
from features.sets import FeatureSet
from models.card import Card
from models.registry import Registry
from serving.prediction_log import PredictionRow

Scores = npt.NDArray[np.float64]


class Recomputation:
    """Scores of registered versions on backfilled features. Sessions are kept by digest."""

    def __init__(self, registry: Registry, feature_set: FeatureSet) -> None:
        self._registry = registry
        self._feature_set = feature_set
        self._loaded: dict[tuple[str, str], tuple[Card, Any]] = {}

    def frame(self, bars: BarPanel) -> FeatureFrame:
        """The features of `bars` by the batch definition."""
        return backfill(bars, self._feature_set)

    def scores(self, model: str, version: str, frame: FeatureFrame, index: int) -> Scores:
        """Scores of every symbol of `frame` at one bar, float64 `[symbols]`; NaN where inputs lack.

        Where scores depend on each other, they are those of the version's universe: other symbols have none.
        """
        card, session = self._session(model, version)
        window = frame.window(index, card.lookback)
        seen = np.array(card.places(frame.symbols), dtype=np.intp)
        complete = seen[np.isfinite(window[seen]).all(axis=(1, 2))]
        scores = np.full(len(window), np.nan)
        if len(complete):
            scores[complete] = session.run(["scores"], {"panel": window[complete]})[0]
        return scores

    def difference(self, row: PredictionRow, frame: FeatureFrame) -> float:
        """The largest difference between a logged answer and its recomputation.

        Infinite where one has a score and the other has none, as of a symbol that is not in `frame`.
        """
        if row.as_of is None:
            raise DataError(f"prediction {row.prediction_id} names no bar, so it cannot be recomputed")
        recomputed = self.scores(row.model, row.version, frame, frame.index_of(row.as_of))
        by_symbol = dict(zip(frame.symbols, recomputed.tolist(), strict=True))
        ours = np.array([by_symbol.get(symbol, np.nan) for symbol in row.symbols])
        logged = np.asarray(row.scores, dtype=np.float64)
        if (np.isfinite(ours) != np.isfinite(logged)).any():
            return float("inf")
        return float(np.nanmax(np.abs(ours - logged), initial=0.0))

    def _session(self, model: str, version: str) -> tuple[Card, Any]:
        key = (model, version)
        if key not in self._loaded:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            content = self._registry.onnx(model, version)
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            self._loaded[key] = (self._registry.card(model, version), session)
        return self._loaded[key]
