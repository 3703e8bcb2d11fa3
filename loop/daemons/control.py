"""The daemon that controls one model: evidence and transitions, drift and requests, candidates.

It takes time from the book: each decision that the executor journaled is a bar to see, and the bar before it
is judged then. What it is done with stands in the journal, so that it goes on after any end.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from alphaloop.bars import to_datetime
from alphaloop.clock import monotonic
from alphaloop.errors import MissingStateError, VendorError
from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import TRADING_STREAM
from alphaloop.settings.settings import Settings
from alphaloop.telemetry.health import PartHealth, PartState
from loop.daemons.model_control import Judgement, ModelControl
from loop.daemons.stored_bars import StoredBars
from models.registry.configured_registry import configured_registry
from monitoring.drift_check import live_features, make_drift_watch
from monitoring.retrain_trigger import DriftWatch
from pipelines.request_runner import RequestRunner
from rollouts.candidates import CandidateQueue
from rollouts.operations import logged_predictions, make_controller
from rollouts.requests import RequestQueue
from serving.log.prediction_log import PredictionLogReader

log = logging.getLogger(__name__)

DECISION = "decision"
LOOK_SECONDS = 1.0
"""Seconds between two looks at requests of persons and at the copies of the document."""


class ControlDaemon:
    """Control of the served model, bar by bar as its book decides them.

    Parameters
    ----------
    settings : Settings
        Model, paths and policies.
    journal : Journal
        Journal of the book and of control.
    role : RoleLease
        The role `control/MODEL`.
    tell : callable
        Called with a line about each finding, step and candidate.
    lockstep : bool
        A bar is done only once the retraining that it asked for has ended.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        role: RoleLease,
        tell: Callable[[str], None] = lambda line: None,
        *,
        lockstep: bool = False,
    ) -> None:
        self._journal, self._tell, self._lockstep = journal, tell, lockstep
        self._model, self._wait = settings.serving.model, settings.rollout.evidence_wait
        registry = configured_registry(settings)
        self._controller = make_controller(settings, self._model, journal, registry, role)
        self._candidates = CandidateQueue(journal, self._controller, role, tell)
        self._asked = RequestQueue(journal, self._controller, role, tell)
        self._next_look = 0.0
        self._requests = RequestRunner(settings, journal)
        self._watch, self._unwatched = _watch(settings, journal, registry)
        self._bars = StoredBars(settings)
        self._decided = 0
        self._waiting: deque[tuple[datetime, bool]] = deque()
        self._control: ModelControl | None = None
        self._unfinished: datetime | None = None
        self._last: datetime | None = None
        self._told_waiting = False
        self._log = PredictionLogReader(settings.locations.prediction_log, self._model, by_symbols=True)
        self._resume(settings)

    @property
    def part(self) -> str:
        """Name under which the last bar that control is done with is kept."""
        return control_role(self._model)

    def turn(self) -> bool:
        """See the next bar that the book decided, and judge the one before; False if nothing is due."""
        self._look_after_document()
        if self._unfinished is not None:
            return self._end_bar(self._unfinished)
        self._read_decisions()
        if not self._waiting:
            return self._answer_between_bars()
        as_of, answered = self._waiting[0]
        if self._control is None:
            known = self._bars.upto(as_of)
            history = known.between(end=to_datetime(known.timestamps[-2]))
            self._control = ModelControl(history, self._controller, self._log, self._wait, self._watch)
        self._control.see(self._bars.at(as_of), answered=answered)
        self._waiting.popleft()
        self._report(self._control.judge())
        self._unfinished = as_of
        return self._end_bar(as_of)

    def parts(self) -> list[PartHealth]:
        """Return whether drift is watched."""
        if self._unwatched:
            return [PartHealth("drift", PartState.DEGRADED, self._unwatched)]
        return [PartHealth("drift")]

    def _look_after_document(self) -> None:
        """Once a second, act on what persons ask for and repair the copies of the document."""
        if monotonic() < self._next_look:
            return
        self._next_look = monotonic() + LOOK_SECONDS
        if self._last is not None:
            self._asked.take_up(self._last)
        try:
            self._controller.publication.repair_copies()
        except VendorError as error:
            # A registry that is away keeps nobody from trading: its copies are repaired when it is back.
            log.warning("the copies of the rollout document are not compared: %s", error)

    def _end_bar(self, as_of: datetime) -> bool:
        """Take up candidates at `as_of`, and say that the bar is done.

        Returns False in lockstep while a retraining that was asked for has not ended.
        """
        if self._lockstep and self._requests.pending():
            if not self._told_waiting:
                self._tell("waiting for the runner: `alphaloop pipeline serve` runs what is asked for")
            self._told_waiting = True
            return False
        self._candidates.take_up(as_of)
        self._journal.progress.mark(self.part, as_of)
        self._unfinished, self._last, self._told_waiting = None, as_of, False
        return True

    def _answer_between_bars(self) -> bool:
        """Take up a candidate that came after the last bar; in lockstep candidates wait for the next one."""
        if self._lockstep or self._last is None or not self._candidates.waiting():
            return False
        return self._candidates.take_up(self._last) is not None

    def _read_decisions(self) -> None:
        for record in self._journal.records(TRADING_STREAM, DECISION, after=self._decided):
            self._decided = record.seq
            as_of = datetime.fromisoformat(record.body["as_of"])
            self._waiting.append((as_of, bool(record.body.get("answers"))))

    def _resume(self, settings: Settings) -> None:
        """Go on after the last bar that was done: evidence and drift are read again up to there."""
        self._controller.publication.reconcile()
        done = self._journal.progress.of(self.part)
        if done is None:
            return
        self._last = done
        self._read_decisions()
        earlier = [one for one in self._waiting if one[0] <= done]
        self._waiting = deque(one for one in self._waiting if one[0] > done)
        if len(earlier) < 2:
            self._waiting.extendleft(reversed(earlier))
            return
        judged, (last, answered) = earlier[-2][0], earlier[-1]
        rows = [row for row in self._log.new() if row.as_of is not None and row.as_of <= judged]
        if self._watch is not None:
            for seen in live_features(rows, self._watch.universe_of):
                self._watch.on_bar(*seen)
        document = self._controller.document
        if document.challenger is not None:
            logged = logged_predictions(settings, self._model, document.started)
            known = [row for row in logged if row.as_of is not None and row.as_of <= judged]
            self._controller.catch_up(known, self._bars.upto(judged))
        # Rows of the last bar were read above with the others: they are read again from here on.
        self._log = PredictionLogReader(
            settings.locations.prediction_log, self._model, by_symbols=True, since=last
        )
        self._control = ModelControl(
            self._bars.upto(judged), self._controller, self._log, self._wait, self._watch
        )
        self._control.see(self._bars.at(last), answered=answered)

    def _report(self, found: Judgement) -> None:
        for news in found.news:
            reason = news.get("reason") or f"{news['share']:.0%} of features"
            self._tell(f"{str(news['as_of'])[:16]} {news['kind']}: {reason}")
        step = found.transition
        if step is not None:
            outcome = f"{step.outcome}: " if step.outcome else ""
            self._tell(f"{step.as_of[:16]} version {step.version}: {outcome}{step.reason}")


@contextmanager
def opened_control(
    settings: Settings,
    journal: Journal,
    role: RoleLease,
    tell: Callable[[str], None],
    *,
    lockstep: bool,
) -> Iterator[ControlDaemon]:
    """Make the daemon for a block; it holds nothing that has to be closed."""
    yield ControlDaemon(settings, journal, role, tell, lockstep=lockstep)


def _watch(settings: Settings, journal: Journal, registry: Any) -> tuple[DriftWatch | None, str]:
    """Build the drift watch; without a calibration there is none, and the reason is told."""
    try:
        return make_drift_watch(settings, journal, registry), ""
    except MissingStateError as error:
        return None, str(error)
