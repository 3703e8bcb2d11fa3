"""Rollout policy: the stages and the error budget of each layer of evidence.

Decides nothing: `rollouts.rollback_decision` does, by these numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alphaloop.settings.settings import Settings


@dataclass(frozen=True, slots=True)
class RolloutPolicy:
    """Stages of a rollout and error budget of its evidence.

    A version whose logged scores cannot be recomputed is rolled back at once: recomputation is a
    measurement, not a test, and spends no error.

    Parameters
    ----------
    shadow_bars : int
        Bars in shadow before the first canary weight.
    stage_bars : int
        Bars at each canary weight.
    max_bars : int
        Longest duration of a rollout, in bars.
    weights : tuple of float
        Canary weights in ascending order, as shares of the sleeves.
    false_rollback : float
        Probability of rolling back an equal challenger; `SHARES` divides it among the layers.
    false_promotion : float
        Probability of promoting an equal challenger, divided between the two outcomes that can promote.
    hold_bars : int
        Longest wait at the first canary weight for the layers to have the bars they need.
    non_inferiority : float
        Net return a bar that a challenger may lose and still be promoted at the end (0: the champion stays).
    ic_horizon : int
        Bars of an outcome, for the information coefficient.
    effect : float
        Smallest difference a bar that matters, in standard deviations of the paired difference.

    Examples
    --------
    >>> policy = RolloutPolicy(5, 10, 250, (0.05, 0.25, 0.5), false_rollback=0.01, false_promotion=0.05)
    >>> round(sum(policy.rollback_alpha(layer) for layer in policy.SHARES), 12)
    0.01
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
        """Return the false-rollback probability that `layer` may spend."""
        return self.false_rollback * self.SHARES[layer]

    @property
    def promotion_alpha(self) -> float:
        """False-promotion probability of each of the two outcomes, IC and net P&L."""
        return self.false_promotion / 2


def make_rollout_policy(settings: Settings) -> RolloutPolicy:
    """Build the rollout policy from the section `rollout` of the settings.

    Parameters
    ----------
    settings : Settings
        All settings; `rollout.non_inferiority_bps` is converted from basis points to a return.

    Returns
    -------
    RolloutPolicy

    Examples
    --------
    >>> from alphaloop.settings.settings import Settings
    >>> make_rollout_policy(Settings()).rollback_alpha("pnl") > 0
    True
    """
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
