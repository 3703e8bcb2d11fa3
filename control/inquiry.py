"""The inquiry into one rollout: its ledger of evidence, and what its stages wait for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alphaloop.market import BarPanel
from alphaloop.rollout import RolloutDocument, RolloutKind
from control.evidence import Ledger
from control.policies import RolloutPolicy
from control.power import Needs, needs
from control.stages import Stage
from control.witness import Witness
from features.build import FeatureFrame
from models.card import Card
from serving.prediction_log import PredictionRow


@dataclass(slots=True)
class Inquiry:
    """Everything that is known of one rollout. `card` is the challenger's."""

    card: Card
    policy: RolloutPolicy
    ledger: Ledger
    witness: Witness
    _needs: Needs | None = field(default=None)

    def take(
        self,
        document: RolloutDocument,
        as_of: datetime,
        rows: Sequence[PredictionRow],
        bars: BarPanel,
        frame: FeatureFrame | None = None,
    ) -> bool:
        """Take in the bar at `as_of`; false where either version logged nothing, so that nothing moves.

        Before the first bar it looks back on what came after the challenger's training.
        """
        seen = self.witness.observe(document, as_of, rows, bars, frame)
        if seen is None:
            return False
        if self.ledger.bars == 0 and self.ledger.past_bars == 0:
            self.ledger.look_back(self.witness.past(document, self.card, bars))
        self.ledger.observe(seen)
        return True

    @property
    def needs(self) -> Needs:
        """The bars that the first stages wait for."""
        if self._needs is None:
            self._needs = needs(self.ledger.expectation, self.policy, self.ledger.symbols)
        return self._needs

    @property
    def cleared(self) -> dict[str, bool]:
        """Of which faults the challenger is cleared; see `control.power.Needs.hold`."""
        return {name: bool(flags[0]) for name, flags in self.ledger.layers.cleared().items()}

    def stage(self, document: RolloutDocument) -> Stage:
        """Where the rollout of `document` stands after the bars so far."""
        return Stage(
            weight=document.weight,
            bars=self.ledger.bars,
            stage_bars=self.ledger.bars_since(document.stage_started),
            hold=self.needs.hold(self.cleared),
            fixed=document.kind is RolloutKind.AB,
        )
