"""The decision after a bar: whether a rollout waits, advances, is promoted or rolled back.

`decide_after_bar` puts together what the evidence says (`EvidenceLedger.verdict`) and what the stage allows
(`next_move`). The controller then publishes it. What counts against a challenger, layer by layer, is
`EvidenceLayers.against` in `rollouts.evidence.layers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from rollouts.evidence.evidence_ledger import EvidenceLedger, EvidenceVerdict
from rollouts.rollout_policy_settings import RolloutPolicy


class Move(StrEnum):
    """Moves of a rollout after a bar."""

    STAY = "stay"
    ADVANCE = "advance"
    ROLL_BACK = "roll_back"
    PROMOTE = "promote"
    EXPIRE = "expire"


@dataclass(frozen=True, slots=True)
class RolloutStage:
    """Current stage of a rollout: its canary weight and the bars spent so far.

    Parameters
    ----------
    weight : float
        Share of the sleeves that the challenger answers, in [0, 1]; 0 in shadow.
    bars : int
        Bars since the rollout started.
    stage_bars : int
        Bars since this stage began.
    hold : int
        Bars since the start before which no weight above the first may follow.
    fixed : bool
        True for an A/B comparison: it keeps its weight, and its returns neither promote nor end it.
    """

    weight: float
    bars: int
    stage_bars: int
    hold: int = 0
    fixed: bool = False

    def next_weight(self, policy: RolloutPolicy) -> float | None:
        """Return the weight that follows this one; None at the last."""
        return next((weight for weight in policy.weights if weight > self.weight), None)

    def bars_left(self, policy: RolloutPolicy) -> int:
        """Return the minimum number of bars that remain in this stage."""
        if self.fixed or self.next_weight(policy) is None:
            return max(policy.max_bars - self.bars, 0)
        own = policy.stage_bars if self.weight else policy.shadow_bars
        held = self.hold - self.bars if self.weight == policy.weights[0] else 0
        return max(own - self.stage_bars, held, 0)


def next_move(
    stage: RolloutStage,
    policy: RolloutPolicy,
    *,
    against: bool,
    favour: bool,
    not_worse: bool = False,
) -> Move:
    """Choose the move after a bar; rollback takes precedence over every other move.

    Parameters
    ----------
    stage : RolloutStage
        Stage of the rollout, with the bar already counted.
    policy : RolloutPolicy
        Weights and durations of the stages.
    against : bool
        Whether any layer of evidence asks for a rollback.
    favour : bool
        Whether any outcome asks for a promotion.
    not_worse : bool
        Whether the non-inferiority rule holds; it promotes only at the longest duration and the last weight.

    Returns
    -------
    Move
        `STAY` where nothing is due yet.

    Examples
    --------
    >>> from rollouts.rollout_policy_settings import RolloutPolicy
    >>> policy = RolloutPolicy(5, 10, 250, (0.05, 0.25, 0.5), 0.01, 0.05)
    >>> next_move(RolloutStage(weight=0.0, bars=5, stage_bars=5), policy, against=False, favour=False)
    <Move.ADVANCE: 'advance'>
    >>> next_move(RolloutStage(weight=0.5, bars=60, stage_bars=20), policy, against=True, favour=True)
    <Move.ROLL_BACK: 'roll_back'>
    """
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


def decide_after_bar(
    stage: RolloutStage, policy: RolloutPolicy, ledger: EvidenceLedger
) -> tuple[Move, EvidenceVerdict]:
    """Decide on the next move of a rollout, with the verdict behind it.

    Parameters
    ----------
    stage : RolloutStage
        Stage of the rollout, with the bar already counted.
    policy : RolloutPolicy
        Weights and durations of the stages.
    ledger : EvidenceLedger
        Evidence of the rollout up to the bar.

    Returns
    -------
    tuple of Move and EvidenceVerdict
    """
    verdict = ledger.measured_verdict() if stage.fixed else ledger.verdict()
    move = next_move(
        stage,
        policy,
        against=verdict.action == "rollback",
        favour=verdict.action == "promote",
        not_worse=bool(ledger.layers.not_worse()[0]),
    )
    if move is Move.PROMOTE and verdict.action != "promote":
        return move, ledger.non_inferiority()
    if move is Move.EXPIRE:
        what = "the comparison ended after" if stage.fixed else "no verdict within"
        return move, EvidenceVerdict(reason=f"{what} {policy.max_bars} bars; the champion stays")
    return move, verdict
