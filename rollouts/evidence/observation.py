"""Build an `Observation` of one bar from the prediction log and market data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.bars import BarPanel, to_datetime, to_datetime64
from alphaloop.rollout_document import RolloutDocument
from alphaloop.universe_mask import outside_universe
from features.engine.columns import align_symbols
from models.labels import first_unseen_bar
from models.registry.card import Card
from rollouts.evidence.evidence_ledger import Observation
from rollouts.evidence.frame_cache import FrameCache
from rollouts.evidence.guards import Guards
from rollouts.evidence.score_parity import ScoreRecomputation
from serving.log.logged_answers import LoggedAnswer, distinct_answers, widest_answer
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
        answers = distinct_answers(rows)
        champion = [answer for answer in answers if answer.version == document.champion]
        challenger = [answer for answer in answers if answer.version == document.challenger]
        if not champion or not challenger:
            return None
        answered = [answer for answer in challenger if not answer.error]
        scored = [answer for answer in champion if not answer.error]
        ours, theirs = (widest_answer(some, lambda version: bars.symbols) for some in (scored, answered))
        known, beside = frames or self.recomputation.frames(bars), ours.last if ours else None
        outside = outside_universe(bars)
        return Observation(
            as_of=as_of,
            symbols=bars.symbols,
            close=bars.adjusted_close[-1],
            champion=scores_of(ours, bars.symbols),
            challenger=scores_of(theirs, bars.symbols),
            recomputation=max(
                (self.recomputation.difference(answer.last, known, beside) for answer in answered),
                default=0.0,
            ),
            errors=sum(len(answer.route_keys) for answer in challenger if answer.error),
            fault=self.guards.check(as_of, _rows(answered), _rows(champion)),
            outside=None if outside is None else outside[-1],
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
        outside = outside_universe(bars)
        for index in range(first, last):
            champion, challenger = (
                self.recomputation.scores(document.model, version, frames, index)
                for version in (document.champion, document.challenger)
            )
            moment = to_datetime(bars.timestamps[index])
            yield Observation(
                *(moment, bars.symbols, close[index], champion, challenger, 0.0),
                outside=None if outside is None else outside[index],
            )


def scores_of(answer: LoggedAnswer | None, symbols: tuple[str, ...]) -> Vector:
    """Return the scores of `answer` in the order of `symbols`, float64.

    Symbols that `answer` lacks are NaN.
    """
    if answer is None:
        return np.full(len(symbols), np.nan)
    return align_symbols(np.asarray(answer.last.scores, dtype=np.float64), answer.last.symbols, symbols)


def _rows(answers: Iterable[LoggedAnswer]) -> list[PredictionRow]:
    """Return all rows behind `answers`: each measured a run of its own."""
    return [row for answer in answers for row in answer.rows]
