"""Rollout policy: stages, and the error that each layer of evidence may spend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alphaloop.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """The stages of a rollout and the error budget of its evidence.

    `false_rollback` is shared by the layers in `SHARES`; `false_promotion` by the two outcomes that
    can promote. A version whose logged scores cannot be recomputed is out at once: that is a
    measurement, not a test, and spends nothing. `hold_bars` is the longest that the first canary weight
    waits for the layers to have had the bars they need; `non_inferiority` the net return a bar that a
    challenger may lose and still be promoted at the end (0: the champion stays); `ic_horizon` the bars
    of an outcome; `effect` the difference a bar, in its standard deviations, that matters.
    """

    shadow_bars: int
    stage_bars: int
    max_bars: int
    weights: tuple[float, ...]
    false_rollback: float
    false_promotion: float
    hold_bars: int = 126
    non_inferiority: float = 0.0
    ic_horizon: int = 1
    effect: float = 0.2

    SHARES: ClassVar = {"history": 0.05, "behaviour": 0.2, "cost": 0.1, "ic": 0.3, "pnl": 0.35}

    def rollback_alpha(self, layer: str) -> float:
        """The false-rollback probability that `layer` may spend."""
        return self.false_rollback * self.SHARES[layer]

    @property
    def promotion_alpha(self) -> float:
        """The false-promotion probability of each of the two outcomes, IC and net P&L."""
        return self.false_promotion / 2


def rollout_policy(settings: Settings) -> RolloutPolicy:
    """The rollout policy that the settings describe."""
    chosen = settings.rollout
    return RolloutPolicy(
        shadow_bars=chosen.shadow_bars,
        stage_bars=chosen.stage_bars,
        max_bars=chosen.max_bars,
        weights=chosen.weights,
        false_rollback=chosen.false_rollback,
        false_promotion=chosen.false_promotion,
        hold_bars=chosen.hold_bars,
        non_inferiority=chosen.non_inferiority_bps / 10_000,
        ic_horizon=chosen.ic_horizon,
        effect=chosen.effect,
    )
