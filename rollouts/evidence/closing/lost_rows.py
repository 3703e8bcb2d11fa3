"""Lost rows: what a server answered but did not log, or could not answer, is scored again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

import numpy as np

from alphaloop.errors import DataError, FeatureSetMismatchError
from alphaloop.forecasts import Route
from alphaloop.rollout_document import RolloutDocument
from rollouts.evidence.closing.closed_bar import RECOMPUTED_PREFIX
from rollouts.evidence.frame_cache import FrameCache
from rollouts.evidence.score_parity import ScoreRecomputation
from serving.log.prediction_row import PredictionRow

log = logging.getLogger(__name__)


class LostRows:
    """Rows of versions that the log lacks at a bar, scored from bars, features and ONNX file.

    Parameters
    ----------
    recomputation : ScoreRecomputation
        Scores registered versions on backfilled features.
    """

    def __init__(self, recomputation: ScoreRecomputation) -> None:
        self._recomputation = recomputation

    def score(
        self, document: RolloutDocument, versions: Sequence[str], as_of: datetime, frames: FrameCache
    ) -> list[PredictionRow]:
        """Score `versions` at the bar `as_of`, one row each.

        A row has no latency (NaN), because nobody waited for it, and its id begins with `recomputed/`. A
        version that cannot be scored here, because its features are not known or the bars do not reach so
        far, is logged as a warning and left out.
        """
        rows = []
        for version in versions:
            try:
                rows.append(self._row(document, version, as_of, frames))
            except (DataError, FeatureSetMismatchError) as error:
                log.warning(
                    "version %s of '%s' left no row at %s and cannot be scored again: %s; the bar is no "
                    "evidence about it",
                    *(version, document.model, as_of.isoformat(), error),
                )
        return rows

    def _row(
        self, document: RolloutDocument, version: str, as_of: datetime, frames: FrameCache
    ) -> PredictionRow:
        card = self._recomputation.card(document.model, version)
        frame = frames.of(card)
        index = frame.index_of(as_of)
        scores = self._recomputation.scores(document.model, version, frames, index)
        symbols = frames.bars.symbols
        place = {symbol: row for row, symbol in enumerate(frame.symbols)}
        features = np.full((len(symbols), frame.values.shape[2]), np.nan, dtype=np.float32)
        for row, symbol in enumerate(symbols):
            if symbol in place:
                features[row] = frame.values[index, place[symbol]]
        return PredictionRow(
            prediction_id=f"{RECOMPUTED_PREFIX}{version}/{as_of.isoformat()}",
            logged_at=as_of,
            as_of=as_of,
            feature_timestamp=as_of,
            model=document.model,
            version=version,
            digest=card.digest,
            route=Route.CHAMPION if version == document.champion else Route.SHADOW,
            route_keys=(),
            symbols=symbols,
            scores=tuple(scores.tolist()),
            statuses=tuple("ok" if known else "missing" for known in np.isfinite(scores)),
            features=features,
            input_hash="",
            feature_set=card.feature_set,
            snapshot="",
            generation=document.generation,
            latency_ms=float("nan"),
        )
