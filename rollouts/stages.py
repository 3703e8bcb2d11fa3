"""The stages of a rollout: what follows from evidence, weight and bars. Pure; nothing is written here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rollouts.policy import RolloutPolicy


class Move(StrEnum):
    """What a rollout does after a bar."""

    STAY = "stay"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"
    PROMOTE = "promote"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rollout stands: its weight, the bars since it started and since this stage began.

    `hold` is the number of bars since the start before which no weight above the first may follow. An A/B
    comparison (`fixed`) keeps its weight and is neither promoted nor ended by its returns.
    """

    weight: float
    bars: int
    stage_bars: int
    hold: int = 0
    fixed: bool = False

    def next_weight(self, policy: RolloutPolicy) -> float | None:
        """The weight that follows this one; None at the last."""
        return next((weight for weight in policy.weights if weight > self.weight), None)

    def bars_left(self, policy: RolloutPolicy) -> int:
        """Bars that this stage lasts at least, from now on."""
        if self.fixed or self.next_weight(policy) is None:
            return max(policy.max_bars - self.bars, 0)
        own = policy.stage_bars if self.weight else policy.shadow_bars
        held = self.hold - self.bars if self.weight == policy.weights[0] else 0
        return max(own - self.stage_bars, held, 0)


def next_move(
    stage: Stage,
    policy: RolloutPolicy,
    *,
    against: bool,
    favour: bool,
    not_worse: bool = False,
) -> Move:
    """The move after a bar, of which `stage` counts the bars. Rollback is looked for first."""
    if against:
        return Move.ROLL_BACK
    at_the_end = stage.bars >= policy.max_bars
    if stage.fixed:
        return Move.EXPIRE if at_the_end else Move.STAY
    if favour and stage.weight >= policy.weights[-1]:
        return Move.PROMOTE
    if at_the_end:
        return Move.PROMOTE if not_worse and stage.weight >= policy.weights[-1] else Move.EXPIRE
    if stage.next_weight(policy) is None:
        return Move.STAY
    return Move.ADVANCE if stage.bars_left(policy) == 0 else Move.STAY
