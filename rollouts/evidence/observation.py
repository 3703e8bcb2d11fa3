"""Build an `Observation` of one bar from the prediction log and market data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, to_datetime, to_datetime64
from alphaloop.rollout_document import RolloutDocument
from features.engine.columns import align_symbols
from models.labels import first_unseen_bar
from models.registry.card import Card
from rollouts.evidence.evidence_ledger import Observation
from rollouts.evidence.guards import Guards
from rollouts.evidence.score_parity import FrameCache, ScoreRecomputation
from serving.log.prediction_log import PredictionRow

Vector = npt.NDArray[np.float64]

MAX_PAST_BARS = 504
"""Maximum number of bars between training and rollout on which a challenger is tested."""


@dataclass(slots=True)
class ObservationBuilder:
    """Builder of one rollout's observations."""

    recomputation: ScoreRecomputation
    guards: Guards

    def observe(
        self,
        document: RolloutDocument,
        as_of: datetime,
        rows: Sequence[PredictionRow],
        bars: BarPanel,
        frames: FrameCache | None = None,
    ) -> Observation | None:
        """Build the observation of `as_of`, the last of `bars`.

        Returns None where either version logged nothing.

        `frames` may hold the features of these bars and later ones, so that they need not be computed again.
        """
        # Rows without symbols are scores of a client's own inputs, which belong to no bar.
        rows = [row for row in rows if row.symbols]
        champion = [row for row in rows if row.version == document.champion]
        challenger = [row for row in rows if row.version == document.challenger]
        answered = [row for row in challenger if not row.error]
        if not champion or not challenger:
            return None
        ours, theirs = (widest_answer(some, bars.symbols) for some in (champion, challenger))
        known = frames or self.recomputation.frames(bars)
        return Observation(
            as_of=as_of,
            close=bars.adjusted_close[-1],
            champion=scores_of(ours, bars.symbols),
            challenger=scores_of(theirs, bars.symbols),
            recomputation=max(
                (self.recomputation.difference(row, known, ours) for row in _distinct(answered)), default=0.0
            ),
            errors=len(challenger) - len(answered),
            fault=self.guards.check(as_of, answered, champion),
        )

    def past(self, document: RolloutDocument, card: Card, bars: BarPanel) -> Iterator[Observation]:
        """Yield the bars between the challenger's training and the rollout's start, scored by both files now.

        These bars take no waiting. Bars whose labels the training saw are left out.
        """
        if document.started is None or document.challenger is None:
            return
        end = datetime.fromisoformat(document.started)
        first = first_unseen_bar(bars.timestamps, datetime.fromisoformat(card.train_last), card.horizon)
        last = int(np.searchsorted(bars.timestamps, to_datetime64(end), "right"))
        first = max(first, last - MAX_PAST_BARS)
        if last - first < 1:
            return
        frames, close = self.recomputation.frames(bars.between(end=end)), bars.adjusted_close
        for index in range(first, last):
            champion, challenger = (
                self.recomputation.scores(document.model, version, frames, index)
                for version in (document.champion, document.challenger)
            )
            yield Observation(to_datetime(bars.timestamps[index]), close[index], champion, challenger, 0.0)


def widest_answer(rows: Sequence[PredictionRow], symbols: tuple[str, ...]) -> PredictionRow | None:
    """Select the answer that covers most of `symbols`, the last of those.

    Returns None where all failed.

    A client that asks for only a few symbols therefore does not decide how the version is judged.
    """
    market = set(symbols)
    good = [row for row in rows if not row.error]
    return max(reversed(good), key=lambda row: len(market.intersection(row.symbols)), default=None)


def scores_of(row: PredictionRow | None, symbols: tuple[str, ...]) -> Vector:
    """Return the scores of `row` in the order of `symbols`, float64.

    Symbols that `row` lacks are NaN.
    """
    if row is None:
        return np.full(len(symbols), np.nan)
    return align_symbols(np.asarray(row.scores, dtype=np.float64), row.symbols, symbols)


def _distinct(rows: Sequence[PredictionRow]) -> list[PredictionRow]:
    """Keep one row for each different answer, because twenty sleeves mostly get the same one."""
    seen: dict[tuple[Any, ...], PredictionRow] = {}
    for row in rows:
        scores = np.asarray(row.scores, dtype=np.float64).tobytes()
        seen.setdefault((row.input_hash, row.symbols, scores), row)
    return list(seen.values())
