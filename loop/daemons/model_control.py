"""Control of one model: rollout evidence and transitions, drift and requests to retrain, bar by bar.

A bar is judged when the next one has been traded, because the server has logged its answers by then. So a
step that the evidence of one bar asks for takes effect two bars later, in a replay as in a live market.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.bars import BarPanel, Slice
from monitoring.drift_check import live_features
from monitoring.retrain_trigger import DriftWatch
from rollouts.controller import RolloutController
from rollouts.evidence.closing.awaited_rows import AwaitedRows
from rollouts.transition import Transition
from serving.log.prediction_log import PredictionLogReader, PredictionRow


@dataclass(slots=True)
class Judgement:
    """The findings of control in the bars that it judged.

    Parameters
    ----------
    transition : Transition, optional
        Last step of the rollout.
    news : list of dict
        New findings of the drift watch and requests to retrain, as they were journaled.
    """

    transition: Transition | None = None
    news: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class ModelControl:
    """Control of one model.

    Parameters
    ----------
    history : BarPanel
        Bars before the first one to judge.
    controller : RolloutController
        Controller of the model's rollout.
    log : PredictionLogReader
        Reader of the prediction log.
    wait : float
        Seconds to wait for the rows of one bar (`rollout.evidence_wait`).
    watch : DriftWatch, optional
        Drift watch; without it, drift is not seen and nothing is retrained.
    """

    history: BarPanel
    controller: RolloutController
    log: PredictionLogReader
    wait: float
    watch: DriftWatch | None = None
    _waiting: deque[tuple[Slice, bool]] = field(default_factory=deque)
    _judged: list[Slice] = field(default_factory=list)
    _awaited: AwaitedRows | None = None

    def see(self, bars: Slice, *, answered: bool) -> None:
        """Take note of a bar that was traded; `answered` says whether there were forecasts for it."""
        self._waiting.append((bars, answered))

    def judge(self, *, last: bool = False) -> Judgement:
        """Judge the bars before the newest one, in order, and with `last` that one too.

        A bar without forecasts is no evidence. Of a bar whose rows do not arrive in time those that came
        count, and a version of the rollout that left none is scored again.

        Returns
        -------
        Judgement
            The last step of the rollout, and the findings.
        """
        found = Judgement()
        while len(self._waiting) > (0 if last else 1):
            bars, answered = self._waiting.popleft()
            self._judged.append(bars)
            if answered:
                self._judge(bars.timestamp, self._logged(bars.timestamp), found)
        return found

    def bars(self, *, judged: bool = False) -> BarPanel:
        """Return the history with all bars since, or only with those that are judged."""
        if self._judged:
            self.history = self.history.then(BarPanel.from_slices(self._judged))
            self._judged.clear()
        if judged or not self._waiting:
            return self.history
        return self.history.then(BarPanel.from_slices([bars for bars, _ in self._waiting]))

    def _judge(self, as_of: datetime, rows: list[PredictionRow], found: Judgement) -> None:
        if self.controller.document.challenger is not None:
            step = self.controller.on_bar(as_of, rows, self.bars(judged=True))
            found.transition = step or found.transition
        if self.watch is not None and rows:
            for seen in live_features(rows, self.watch.universe_of):
                found.news += self.watch.on_bar(*seen)

    def _logged(self, as_of: datetime) -> list[PredictionRow]:
        """Return the rows of a bar, once each version that was asked at it has one or the wait is over."""
        if self._awaited is None:
            self._awaited = AwaitedRows(self.log, self.wait)
        document = self.controller.document
        versions = [document.champion]
        if document.challenger is not None and document.started is not None:
            # A rollout begins after its bar was traded, so that its challenger is asked from the next one on.
            versions += [document.challenger] * (as_of > datetime.fromisoformat(document.started))
        return self._awaited.take(as_of, versions)
