"""The rollout controller: the one writer of the rollout document.

After every bar it reads what the server logged, adds it to the evidence and takes at most one step:
shadow, canary at each weight, then promoted, rolled back or undecided. The document on the registry
is the only state; the ledger of evidence is rebuilt from the prediction log after a restart. Every
step is a generation of the document, written only over the generation it was decided on, so a second
controller does no harm: its write is refused, and it reads again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import numpy.typing as npt

from alphaloop.allocation import AllocationPolicy
from alphaloop.costs import CostModel
from alphaloop.errors import InputError, MissingStateError, RolloutConflictError
from alphaloop.journal.store import Journal
from alphaloop.market import BarPanel
from alphaloop.rollout import Override, RolloutDocument, RolloutKind, RolloutState
from control.evidence import Ledger, Observation
from control.expectation import expectation
from control.policies import RolloutPolicy
from control.recomputation import Recomputation
from control.transition import CONTROL_STREAM, TRANSITION, Outcome, Transition, describe
from models.registry import Registry
from serving.prediction_log import PredictionRow

Vector = npt.NDArray[np.float64]

RECOMPUTATION_TOLERANCE = 1e-4
"""The fidelity that serving owes the registered model; the same as that of the export gate."""


class RolloutController:
    """Runs the rollout of one model."""

    def __init__(
        self,
        model: str,
        registry: Registry,
        journal: Journal,
        recomputation: Recomputation,
        policy: RolloutPolicy,
        allocation: AllocationPolicy,
        costs: CostModel,
    ) -> None:
        self.model = model
        self._registry = registry
        self._journal = journal
        self._recomputation = recomputation
        self._policy = policy
        self._allocation = allocation
        self._costs = costs
        self._ledger: Ledger | None = None
        self.ledgers: dict[str, Ledger] = {}

    @property
    def document(self) -> RolloutDocument:
        """The document as stored; raises `MissingStateError` before the first champion."""
        stored = self._registry.rollout(self.model)
        if stored is None:
            raise MissingStateError(
                f"model '{self.model}' has no champion yet; `alphaloop train momentum` makes one"
            )
        return stored

    def crown(self, version: str) -> RolloutDocument:
        """Make `version` the first champion; raises `RolloutConflictError` if there is one."""
        document = RolloutDocument(model=self.model, champion=version)
        self._registry.write_rollout(document, None)
        self._append(
            Transition(
                model=self.model,
                version=version,
                champion=version,
                kind=RolloutKind.REAL,
                state=RolloutState.STEADY,
                weight=1.0,
                generation=document.generation,
                as_of="",
                bars=0,
                reason="the first champion: the baseline that every challenger has to beat",
            )
        )
        return document

    def start(
        self,
        version: str,
        as_of: datetime,
        *,
        kind: RolloutKind = RolloutKind.REAL,
        override: Override | None = None,
        cause: str | None = None,
    ) -> RolloutDocument:
        """Put `version` into shadow. A version that its gate refused needs a named override.

        Raises `InputError` for a refused version without one, and `RolloutConflictError` while
        another rollout is under way.
        """
        before = self.document
        if before.state is not RolloutState.STEADY:
            raise RolloutConflictError(
                f"version {before.challenger} of '{self.model}' is in {before.state}; end that rollout first"
            )
        if version == before.champion:
            raise InputError(f"version {version} of '{self.model}' is the champion already")
        card = self._registry.card(self.model, version)
        if not card.passed and override is None:
            reasons = "; ".join(card.gate.get("reasons", ()))
            raise InputError(
                f"the gate refused version {version}: {reasons}; an override with a name can start it"
            )
        document = before.next(
            state=RolloutState.SHADOW,
            challenger=version,
            kind=kind,
            override=override,
            cause=cause,
            salt=f"{self.model}/{version}/{before.generation}",
            started=as_of.isoformat(),
            stage_started=as_of.isoformat(),
        )
        words = f"shadow, by override '{override.name}': {override.reason}" if override else "shadow"
        self._write(
            before, describe(document, document, as_of=as_of.isoformat(), bars=0, reason=words), document
        )
        return document

    def on_bar(self, as_of: datetime, rows: Sequence[PredictionRow], bars: BarPanel) -> Transition | None:
        """Take in the bar at `as_of`: its logged answers and all bars up to it. At most one step.

        A bar on which either version logged nothing is no evidence and moves nothing.
        """
        document = self.document
        if document.state is RolloutState.STEADY or document.challenger is None:
            return None
        observation = self._observation(document, as_of, rows, bars)
        if observation is None:
            return None
        ledger = self._ledger_of(document)
        ledger.observe(observation)
        return self._step(document, ledger, as_of)

    def rebuild(self, rows: Sequence[PredictionRow], bars: BarPanel) -> Ledger:
        """Recompute the evidence of the rollout under way from everything logged since it started.

        Raises `MissingStateError` where no rollout is under way.
        """
        document = self.document
        if document.challenger is None or document.started is None:
            raise MissingStateError(
                f"no rollout of '{self.model}' is under way; the champion is {document.champion}"
            )
        self._ledger = None
        ledger = self._ledger_of(document)
        started = datetime.fromisoformat(document.started)
        for as_of in sorted({row.as_of for row in rows if row.as_of is not None and row.as_of > started}):
            there = [row for row in rows if row.as_of == as_of]
            observation = self._observation(document, as_of, there, bars.between(end=as_of))
            if observation is not None:
                ledger.observe(observation)
        return ledger

    def end(self, outcome: Outcome, as_of: datetime, *, reason: str, by: str) -> Transition:
        """End the rollout under way by hand: promote the challenger, or keep the champion."""
        document = self.document
        if document.challenger is None:
            raise InputError(
                f"no rollout of '{self.model}' is under way; the champion is {document.champion}"
            )
        return self._settle(document, self._ledger_of(document), as_of, outcome, reason=reason, by=by)

    def _step(self, document: RolloutDocument, ledger: Ledger, as_of: datetime) -> Transition | None:
        verdict = ledger.verdict()
        if verdict.action == "rollback":
            return self._settle(
                document, ledger, as_of, Outcome.ROLLED_BACK, reason=verdict.reason, layer=verdict.layer
            )
        at_full_weight = document.weight >= self._policy.weights[-1]
        if verdict.action == "promote" and at_full_weight:
            return self._settle(
                document, ledger, as_of, Outcome.PROMOTED, reason=verdict.reason, layer=verdict.layer
            )
        if ledger.bars >= self._policy.max_bars:
            reason = f"no verdict within {self._policy.max_bars} bars; the champion stays"
            return self._settle(document, ledger, as_of, Outcome.UNDECIDED, reason=reason)
        return self._advance(document, ledger, as_of)

    def _advance(self, document: RolloutDocument, ledger: Ledger, as_of: datetime) -> Transition | None:
        higher = [weight for weight in self._policy.weights if weight > document.weight]
        needed = (
            self._policy.shadow_bars if document.state is RolloutState.SHADOW else self._policy.stage_bars
        )
        if not higher or ledger.bars_since(document.stage_started) < needed:
            return None
        after = document.next(state=RolloutState.CANARY, weight=higher[0], stage_started=as_of.isoformat())
        step = describe(
            after,
            document,
            as_of=as_of.isoformat(),
            bars=ledger.bars,
            reason=f"no evidence against it in {needed} bars; canary at {higher[0]:.0%} of sleeves",
            evidence=ledger.summary(),
        )
        return self._write(document, step, after)

    def _settle(
        self,
        document: RolloutDocument,
        ledger: Ledger,
        as_of: datetime,
        outcome: Outcome,
        *,
        reason: str,
        layer: str = "",
        by: str = "controller",
    ) -> Transition:
        champion = document.challenger if outcome is Outcome.PROMOTED else document.champion
        after = document.settled(str(champion))
        step = describe(
            after,
            document,
            as_of=as_of.isoformat(),
            bars=ledger.bars,
            reason=reason,
            layer=layer,
            outcome=outcome,
            by=by,
            evidence=ledger.summary(),
        )
        self._ledger = None
        return self._write(document, step, after)

    def _write(self, before: RolloutDocument, step: Transition, after: RolloutDocument) -> Transition:
        # The document first: it is what the money follows. A journal line without it would be a lie.
        self._registry.write_rollout(after, before.generation)
        self._append(step)
        return step

    def _append(self, step: Transition) -> None:
        with self._journal.writer(CONTROL_STREAM) as writer:
            writer.append(TRANSITION, step.body())

    def _ledger_of(self, document: RolloutDocument) -> Ledger:
        key = f"{document.challenger}@{document.started}"
        if self._ledger is None or key not in self.ledgers:
            card = self._registry.card(self.model, str(document.challenger))
            self._ledger = Ledger(
                policy=self._policy,
                expectation=expectation(card),
                allocation=self._allocation,
                costs=self._costs,
                tolerance=RECOMPUTATION_TOLERANCE,
            )
            self.ledgers[key] = self._ledger
        return self._ledger

    def _observation(
        self, document: RolloutDocument, as_of: datetime, rows: Sequence[PredictionRow], bars: BarPanel
    ) -> Observation | None:
        champion = [row for row in rows if row.version == document.champion]
        challenger = [row for row in rows if row.version == document.challenger]
        answered = [row for row in challenger if not row.error]
        if not champion or not challenger:
            return None
        scores = _aligned(answered[-1], bars.symbols) if answered else np.full(len(bars.symbols), np.nan)
        frame = self._recomputation.frame(bars)
        return Observation(
            as_of=as_of,
            close=bars.adjusted_close[-1],
            champion=_aligned(champion[-1], bars.symbols),
            challenger=scores,
            recomputation=max(
                (self._recomputation.difference(row, frame) for row in _distinct(answered)), default=0.0
            ),
            errors=len(challenger) - len(answered),
        )


def _aligned(row: PredictionRow, symbols: tuple[str, ...]) -> Vector:
    by_symbol = dict(zip(row.symbols, row.scores, strict=True))
    return np.array([by_symbol.get(symbol, np.nan) for symbol in symbols], dtype=np.float64)


def _distinct(rows: Sequence[PredictionRow]) -> list[PredictionRow]:
    """One row for each different answer: twenty sleeves mostly get the same one."""
    seen: dict[tuple[str, bytes], PredictionRow] = {}
    for row in rows:
        seen.setdefault((row.input_hash, np.asarray(row.scores, dtype=np.float64).tobytes()), row)
    return list(seen.values())
