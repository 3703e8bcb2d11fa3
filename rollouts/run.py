"""One rollout under way: its evidence, its stage and its next move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.bars import BarPanel
from alphaloop.rollout_document import RolloutDocument, RolloutKind
from models.registry.card import Card
from rollouts.evidence.evidence_ledger import EvidenceLedger, EvidenceVerdict
from rollouts.evidence.frame_cache import FrameCache
from rollouts.evidence.observation import ObservationBuilder
from rollouts.rollback_decision import Move, RolloutStage, decide_after_bar
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.validation.power import BarRequirements, bars_required
from serving.log.prediction_log import PredictionRow


@dataclass(slots=True)
class RolloutRun:
    """Evidence and stage of one rollout; `card` is the challenger's model card."""

    card: Card
    policy: RolloutPolicy
    ledger: EvidenceLedger
    witness: ObservationBuilder
    _needs: BarRequirements | None = field(default=None)

    def observe(
        self,
        document: RolloutDocument,
        as_of: datetime,
        rows: Sequence[PredictionRow],
        bars: BarPanel,
        frames: FrameCache | None = None,
    ) -> bool:
        """Add the bar at `as_of` to the evidence.

        The first bar also adds the bars between the challenger's training and the rollout's start. A bar
        counts once. Returns False where the bar is no evidence, because it was counted before or because
        either version logged nothing.
        """
        if self.ledger.last is not None and as_of <= self.ledger.last:
            return False
        seen = self.witness.observe(document, as_of, rows, bars, frames)
        if seen is None:
            return False
        if self.ledger.bars == 0 and self.ledger.past_bars == 0:
            self.ledger.observe_past(self.witness.past(document, self.card, bars))
        self.ledger.observe(seen)
        return True

    @property
    def needs(self) -> BarRequirements:
        """Bars that the first stages wait for."""
        if self._needs is None:
            self._needs = bars_required(self.ledger.expectation, self.policy, self.ledger.symbols)
        return self._needs

    @property
    def cleared(self) -> dict[str, bool]:
        """Flag for each fault, True once the challenger is cleared of it.

        `rollouts.validation.power.BarRequirements.hold` uses these flags.
        """
        return {name: bool(flags[0]) for name, flags in self.ledger.layers.cleared().items()}

    def stage(self, document: RolloutDocument) -> RolloutStage:
        """Return the stage of `document`'s rollout after the bars so far."""
        return RolloutStage(
            weight=document.weight,
            bars=self.ledger.bars,
            stage_bars=self.ledger.bars_since(document.stage_started),
            hold=self.needs.hold(self.cleared),
            fixed=document.kind is RolloutKind.AB,
        )

    def move(self, document: RolloutDocument) -> tuple[Move, EvidenceVerdict]:
        """Choose the next move of `document`'s rollout, with the verdict behind it."""
        return decide_after_bar(self.stage(document), self.policy, self.ledger)
