"""Rollout controller: the only writer of the rollout document.

After every bar the controller reads the server's prediction log, adds the bar to the evidence and takes at
most one step: shadow, canary at each weight, then promoted, rolled back or undecided. The stored
document is the only state; the ledger of evidence is rebuilt from the prediction log after a restart, and
the decisions that a dead controller did not make are then made at the bars they belong to. Every step is
published (`rollouts.publication`) over the generation on which it was decided.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from alphaloop.bars import BarPanel, to_datetime, to_datetime64
from alphaloop.clock import Clock, SystemClock
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.strategy import Strategy
from alphaloop.errors import MissingStateError, RolloutConflictError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import Override, RolloutDocument, RolloutKind, RolloutState
from models.registry.card import Card
from models.registry.model_registry import Registry
from rollouts.evidence.closing.bar_closing import BarClosing
from rollouts.evidence.closing.closing_records import ClosingRecords
from rollouts.evidence.closing.lost_rows import LostRows
from rollouts.evidence.evidence_ledger import EvidenceLedger, EvidenceVerdict
from rollouts.evidence.expected_ranges import ranges_from_card
from rollouts.evidence.guards import Guards
from rollouts.evidence.observation import ObservationBuilder
from rollouts.evidence.score_parity import ScoreRecomputation
from rollouts.publication import RolloutPublisher
from rollouts.rollback_decision import Move
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.run import RolloutRun
from rollouts.start import StartRequest, first_champion_document
from rollouts.status import RolloutEvidence, RolloutStatus, rollout_key
from rollouts.transition import RolloutOutcome, Transition, make_transition
from serving.log.prediction_log import PredictionRow

log = logging.getLogger(__name__)

RECOMPUTATION_TOLERANCE = 1e-4
"""Largest difference allowed between served and recomputed scores; the same as in the export gate."""
OUTCOME_BY_MOVE = {
    Move.ROLL_BACK: RolloutOutcome.ROLLED_BACK,
    Move.PROMOTE: RolloutOutcome.PROMOTED,
    Move.EXPIRE: RolloutOutcome.UNDECIDED,
}
LogReader = Callable[[str | None], Sequence[PredictionRow]]


class RolloutController:
    """Controller of one model's rollout.

    Parameters
    ----------
    model : str
        Name of the model on the registry.
    registry : Registry
        Store of versions, cards and the rollout document.
    journal : Journal
        Journal to which intents and transitions are written.
    recomputation : ScoreRecomputation
        Recomputes scores of registered versions, to compare them with the logged ones.
    policy : RolloutPolicy
        Stages and error budget.
    strategy : Strategy
        Turns scores into the weights of the paper books; the one that trades.
    costs : CostModel
        Trading costs of the paper books.
    limits : BookLimits, optional
        Weight limits of the paper books; none by default.
    guards : callable
        Makes the guards (latency, staleness) of a new rollout.
    log : callable
        Reads the logged predictions of the model from an ISO timestamp on (None: all).
    clock : Clock, optional
        The system clock by default.
    role : RoleLease, optional
        The role `control/MODEL`, where the caller holds it for long; else each change takes it.
    """

    def __init__(
        self,
        model: str,
        registry: Registry,
        journal: Journal,
        recomputation: ScoreRecomputation,
        policy: RolloutPolicy,
        strategy: Strategy,
        costs: CostModel,
        *,
        limits: BookLimits | None = None,
        guards: Callable[[], Guards] = lambda: Guards(float("inf"), 0.0),
        log: LogReader = lambda since: (),
        clock: Clock | None = None,
        role: RoleLease | None = None,
    ) -> None:
        self.model = model
        self.publication = RolloutPublisher(model, registry, journal, role)
        self._registry = registry
        self._recomputation = recomputation
        self._closed = BarClosing(ClosingRecords(journal, model, role), LostRows(recomputation))
        self._policy = policy
        self._strategy = strategy
        self._costs = costs
        self._limits = limits or BookLimits()
        self._guards = guards
        self._log = log
        self._clock = clock or SystemClock()
        self._run: RolloutRun | None = None
        self.ledgers: dict[str, EvidenceLedger] = {}
        self.status: RolloutStatus | None = None

    @property
    def document(self) -> RolloutDocument:
        """Stored rollout document; raises `MissingStateError` before the first champion."""
        stored = self.publication.document()
        if stored is None:
            raise MissingStateError(
                f"model '{self.model}' has no champion yet; `alphaloop train momentum` makes one if its gate "
                "lets it pass, `alphaloop rollout crown VERSION --override NAME --reason WHY` in any case"
            )
        self._update_status(stored)
        return stored

    def crown(
        self, version: str, *, override: Override | None = None, by: str = "controller"
    ) -> RolloutDocument:
        """Make `version` the first champion; raises `RolloutConflictError` if there is one.

        The caller checks the gate's verdict; `override` is journaled with the transition.
        """
        document, step = first_champion_document(self.model, version, override, by)
        self.publication.publish(None, step, document)
        return document

    def start(
        self,
        version: str,
        as_of: datetime,
        *,
        kind: RolloutKind = RolloutKind.REAL,
        override: Override | None = None,
        cause: str | None = None,
        share: float = 0.0,
        against: str | None = None,
    ) -> RolloutDocument:
        """Put `version` into shadow.

        A version that its gate refused needs a named override.

        With kind `ab` the version answers `share` of the sleeves at once, beside `against` (by default the
        champion), until the longest duration or an operator ends the comparison. Raises `InputError` for a
        refused version without an override and for a share outside (0, 1), `RolloutConflictError` while
        another rollout is under way, and `FeatureSetMismatchError` where the features of either version are
        not known here, so that its scores could not be recomputed.
        """
        before = self.document
        request = StartRequest(version, as_of, kind, override, cause, share, against)
        document, step = request.opening_document(before, self._card)
        for one in (document.champion, document.challenger):
            self._recomputation.require(self._card(one))
        self.publication.publish(before, step, document)
        self._run = None
        self._run_of(document)
        return document

    def on_bar(
        self,
        as_of: datetime,
        rows: Sequence[PredictionRow],
        bars: BarPanel,
        whole: Callable[[], BarPanel] | None = None,
    ) -> Transition | None:
        """Add the bar at `as_of` to the evidence and take at most one step.

        The bar is closed with `rows`, the predictions logged at it: what is logged later changes nothing, and
        a version that left no row is scored again. `bars` end with it and hold at least the bars since the
        last call; `whole` reads all bars up to it, which the first bar of a rollout or of this controller
        needs, and without it `bars` are all. A controller that does not know the rollout under way first
        reads its earlier log rows and makes the decisions that are due from them. Returns the step taken, or
        None.
        """
        document = self.document
        if document.state is RolloutState.STEADY or document.challenger is None:
            return None
        if self._run is None or rollout_key(document) not in self.ledgers:
            logged = self._log(document.started)
            earlier = [row for row in logged if row.as_of is not None and row.as_of < as_of]
            bars = whole() if whole else bars
            before = int(np.searchsorted(bars.timestamps, to_datetime64(as_of)))
            due = self.catch_up(earlier, bars.part(0, before))
            document = self.document
            if document.challenger is None:
                return due[-1] if due else None
        run = self._run_of(document)
        if run.ledger.last is not None and as_of <= run.ledger.last:
            return None
        if document.started is not None and as_of <= datetime.fromisoformat(document.started):
            # Decided before the rollout began: no challenger was asked, so that none is scored again.
            return None
        if whole is not None and not run.ledger.bars:
            bars = whole()
        frames = self._recomputation.latest_frames(bars)
        closed = self._closed.close(document, as_of, rows, frames)
        if not run.observe(document, as_of, closed.rows, bars, frames):
            return None
        step = self._step(document, run, as_of)
        self._update_status(self.document if step else document, run)
        return step

    def catch_up(self, rows: Sequence[PredictionRow], bars: BarPanel) -> list[Transition]:
        """Continue after a dead controller, from all predictions logged since the rollout started.

        A step that it published but did not journal is journaled; decisions that it did not make are made
        now, bar by bar, as it would have made them. Returns the steps that were taken.
        """
        self.publication.reconcile()
        steps = self._replay(rows, bars, decide=True)
        self._update_status(self.document, self._run)
        return steps

    def rebuild(self, rows: Sequence[PredictionRow], bars: BarPanel) -> EvidenceLedger:
        """Recompute the current rollout's evidence from all predictions logged since it started.

        Makes no decision. Raises `MissingStateError` where no rollout is under way.
        """
        document = self._under_way()
        self._replay(rows, bars, decide=False)
        run = self._run_of(document)
        self._update_status(document, run)
        return run.ledger

    def end(self, outcome: RolloutOutcome, as_of: datetime, *, reason: str, by: str) -> Transition:
        """End the rollout under way by hand: promote the challenger, or keep the champion.

        Raises `MissingStateError` where no rollout is under way.
        """
        document = self._under_way()
        ledger = self._run_of(document).ledger
        return self._settle(document, ledger, as_of, outcome, EvidenceVerdict(reason=reason), by)

    def current_run(self) -> RolloutRun:
        """Return the rollout under way; raises `MissingStateError` where there is none."""
        return self._run_of(self._under_way())

    def _update_status(self, document: RolloutDocument, run: RolloutRun | None = None) -> None:
        """Update the status from `run`, or keep the earlier evidence of the same rollout."""
        evidence = self.status.evidence if self.status else None
        if document.challenger is not None and run is not None:
            evidence = RolloutEvidence.of(document, run)
        elif evidence is not None and evidence.rollout != rollout_key(document):
            evidence = None
        self.status = RolloutStatus(document, self._clock.now(), evidence)

    def _under_way(self) -> RolloutDocument:
        document = self.document
        if document.challenger is None:
            raise MissingStateError(
                f"no rollout of '{self.model}' is under way; the champion is {document.champion}"
            )
        return document

    def _replay(self, rows: Sequence[PredictionRow], bars: BarPanel, *, decide: bool) -> list[Transition]:
        self._run = None
        document, steps = self.document, list[Transition]()
        if document.challenger is None or document.started is None:
            return steps
        run = self._run_of(document)
        started = datetime.fromisoformat(document.started)
        end = to_datetime(bars.timestamps[-1]) if len(bars) else started
        by_bar: dict[datetime, list[PredictionRow]] = {
            as_of: [] for as_of in self._closed.moments(document) if started < as_of <= end
        }
        for row in rows:
            if row.as_of is not None and row.as_of > started:
                by_bar.setdefault(row.as_of, []).append(row)
        frames = self._recomputation.frames(bars)
        for as_of, logged in sorted(by_bar.items()):
            closed = self._closed.close(document, as_of, logged, frames, write=decide)
            if not run.observe(document, as_of, closed.rows, bars.between(end=as_of), frames) or not decide:
                continue
            if as_of > datetime.fromisoformat(document.stage_started or document.started):
                step = self._step(document, run, as_of)
                if step is not None:
                    steps.append(step)
                    document = self.document
                if document.challenger is None or self._run is None:
                    break
        return steps

    def _step(self, document: RolloutDocument, run: RolloutRun, as_of: datetime) -> Transition | None:
        """Take the step that the evidence asks for.

        Returns None where another controller moved first.

        The evidence is then read again at the next bar.
        """
        try:
            return self._moved(document, run, as_of)
        except RolloutConflictError as conflict:
            log.info("another controller moved the rollout of '%s' first: %s", self.model, conflict)
            self._run = None
            return None

    def _moved(self, document: RolloutDocument, run: RolloutRun, as_of: datetime) -> Transition | None:
        move, because = run.move(document)
        if move is Move.ADVANCE:
            return self._advance(document, run, as_of)
        outcome = OUTCOME_BY_MOVE.get(move)
        return self._settle(document, run.ledger, as_of, outcome, because) if outcome else None

    def _advance(self, document: RolloutDocument, run: RolloutRun, as_of: datetime) -> Transition:
        stage, ledger = run.stage(document), run.ledger
        weight = stage.next_weight(self._policy) or document.weight
        after = document.next(state=RolloutState.CANARY, weight=weight, stage_started=as_of.isoformat())
        reason = f"no evidence against it in {stage.stage_bars} bars; canary at {weight:.0%} of sleeves"
        step = make_transition(
            after, document, as_of=as_of.isoformat(), bars=ledger.bars, reason=reason,
            evidence=ledger.summary(),
        )  # fmt: skip
        return self.publication.publish(document, step, after)

    def _settle(
        self,
        document: RolloutDocument,
        ledger: EvidenceLedger,
        as_of: datetime,
        outcome: RolloutOutcome,
        because: EvidenceVerdict,
        by: str = "controller",
    ) -> Transition:
        stays = document.baseline or document.champion
        after = document.settled(str(document.challenger) if outcome is RolloutOutcome.PROMOTED else stays)
        step = make_transition(
            after,
            document,
            as_of=as_of.isoformat(),
            bars=ledger.bars,
            reason=because.reason,
            layer=because.layer,
            outcome=outcome,
            by=by,
            evidence=ledger.summary(),
        )
        self._run = None
        return self.publication.publish(document, step, after)

    def _run_of(self, document: RolloutDocument) -> RolloutRun:
        if self._run is None or rollout_key(document) not in self.ledgers:
            card = self._card(document.challenger)
            ledger = EvidenceLedger(
                policy=self._policy,
                expectation=ranges_from_card(card, self._card(document.champion)),
                strategy=self._strategy,
                limits=self._limits,
                costs=self._costs,
                tolerance=RECOMPUTATION_TOLERANCE,
            )
            self.ledgers[rollout_key(document)] = ledger
            witness = ObservationBuilder(self._recomputation, self._guards())
            self._run = RolloutRun(card, self._policy, ledger, witness)
        return self._run

    def _card(self, version: str | None) -> Card:
        return self._registry.card(self.model, str(version))
