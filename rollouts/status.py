"""Status of a rollout as an immutable record, safe to read from another thread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from alphaloop.rollout_document import RolloutDocument, RolloutKind
from rollouts.evidence.layers import EvidenceLayers
from rollouts.evidence.sequential import BettingTest, MixedTest
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.run import RolloutRun

TEST_DIRECTIONS = ("against", "favour", "not_worse")


@dataclass(frozen=True, slots=True)
class EValue:
    """Current e-value of one test of one layer, beside the e-value at which the test decides.

    `log10_e` and `bound` are decimal logarithms. `bars` counts the bars on which the test has bet; `test`
    is the direction of the test, one of `TEST_DIRECTIONS`.
    """

    layer: str
    test: str
    bars: int
    log10_e: float
    bound: float


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """Evidence of a rollout after the bar at `as_of`.

    `bars_left` counts to the longest duration. `recomputation` is the largest difference so far between the
    challenger's logged scores and the registered model's, `failures` the number of the challenger's failed
    answers, `fault` is True once a guard has spoken against it, and `shares` holds each layer's share of the
    probability of a false rollback.
    """

    rollout: str
    kind: RolloutKind
    as_of: datetime
    bars: int
    past_bars: int
    stage_bars: int
    stage_bars_left: int
    bars_left: int
    recomputation: float
    tolerance: float
    failures: int
    fault: bool
    false_rollback: float
    shares: tuple[tuple[str, float], ...]
    odds: tuple[EValue, ...]

    @classmethod
    def of(cls, document: RolloutDocument, run: RolloutRun) -> RolloutEvidence | None:
        """Summarize the evidence in `run` at the stage of `document`.

        Returns None before the first bar.
        """
        ledger, policy, last = run.ledger, run.policy, run.ledger.last
        if last is None:
            return None
        stage = run.stage(document)
        return cls(
            rollout=rollout_key(document),
            kind=document.kind,
            as_of=last,
            bars=ledger.bars,
            past_bars=ledger.past_bars,
            stage_bars=stage.stage_bars,
            stage_bars_left=stage.bars_left(policy),
            bars_left=max(policy.max_bars - stage.bars, 0),
            recomputation=float(ledger.layers.worst_recomputation[0]),
            tolerance=ledger.tolerance,
            failures=ledger.errors,
            fault=bool(ledger.layers.faults[0]),
            false_rollback=policy.false_rollback,
            shares=tuple(policy.SHARES.items()),
            odds=tuple(_odds(ledger.layers, policy)),
        )


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """Rollout document, the time at which it was read, and the evidence on its rollout."""

    document: RolloutDocument
    read_at: datetime
    evidence: RolloutEvidence | None = None


def rollout_key(document: RolloutDocument) -> str:
    """Return the key of the document's rollout, which stays the same through all stages."""
    return f"{document.challenger}@{document.started}"


def _odds(layers: EvidenceLayers, policy: RolloutPolicy) -> Iterator[EValue]:
    against: dict[str, BettingTest | MixedTest] = {
        "history": layers.history.test,
        "behaviour": layers.behaviour.test,
        "cost": layers.cost.test,
        "ic": layers.ic.worse,
        "pnl": layers.pnl.worse,
    }
    for layer, test in against.items():
        yield _odds_of(layer, "against", test, policy.rollback_alpha(layer))
    for layer, paired in (("ic", layers.ic), ("pnl", layers.pnl)):
        yield _odds_of(layer, "favour", paired.better, policy.promotion_alpha)
    if policy.non_inferiority:
        yield _odds_of("pnl", "not_worse", layers.pnl.not_worse, policy.false_promotion)


def _odds_of(layer: str, name: str, test: BettingTest | MixedTest, alpha: float) -> EValue:
    parts = test.parts.values() if isinstance(test, MixedTest) else (test,)
    bars = max(int(part.bets[0]) for part in parts)
    return EValue(layer, name, bars, float(test.log10_e[0]), -math.log10(alpha))
