"""The promotion gate: it can say no, and says why."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from models.card import Card
from models.evaluation import Evaluation
from models.export import Fidelity


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a model must show.

    Above `max_active_ir` over `leakage_years` or more, or above `max_ic`, a model on daily prices is
    too good to be true: it has seen what it foretells.
    """

    min_ic_tstat: float = 2.0
    min_active_ir: float = 0.0
    max_active_ir: float = 1.0
    leakage_years: float = 5.0
    max_ic: float = 0.15


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict, with every figure and threshold that spoke against the model."""

    passed: bool
    reasons: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The verdict as the card keeps it."""
        return {"passed": self.passed, "reasons": list(self.reasons)}


def judge(
    evaluation: Evaluation, fidelity: Fidelity, champion: Card | None, policy: GatePolicy | None = None
) -> GateResult:
    """Judge a model by its evaluation, its file and the champion's card (None: there is none yet).

    A figure that could not be had (NaN) speaks against the model.
    """
    policy = policy or GatePolicy()
    reasons = [
        *fidelity.reasons,
        *_too_weak(evaluation, champion, policy),
        *_too_good(evaluation, policy),
    ]
    return GateResult(passed=not reasons, reasons=tuple(reasons))


def _too_weak(evaluation: Evaluation, champion: Card | None, policy: GatePolicy) -> list[str]:
    reasons = []
    if not evaluation.ic_tstat >= policy.min_ic_tstat:
        reasons.append(
            f"ic_tstat {evaluation.ic_tstat:.2f} is below {policy.min_ic_tstat:.2f}: "
            f"an IC of {evaluation.ic:.4f} may be chance"
        )
    if not evaluation.active_ir_net > policy.min_active_ir:
        reasons.append(
            f"active_ir_net {evaluation.active_ir_net:.2f} is not above {policy.min_active_ir:.2f}: "
            "after costs it adds nothing to equal weight"
        )
    to_beat = math.nan if champion is None else champion.metric("active_ir_net")
    if champion is not None and not math.isnan(to_beat) and not evaluation.active_ir_net > to_beat:
        reasons.append(
            f"active_ir_net {evaluation.active_ir_net:.2f} is not above the champion's "
            f"{to_beat:.2f} ({champion.family})"
        )
    return reasons


def _too_good(evaluation: Evaluation, policy: GatePolicy) -> list[str]:
    reasons = []
    if evaluation.active_ir_net > policy.max_active_ir and evaluation.years >= policy.leakage_years:
        reasons.append(
            f"active_ir_net {evaluation.active_ir_net:.2f} over {evaluation.years:.1f} years is above "
            f"{policy.max_active_ir:.2f}: suspected leakage"
        )
    best = max(evaluation.ic, evaluation.ic_one_bar)
    if best > policy.max_ic:
        reasons.append(f"ic {best:.3f} is above {policy.max_ic:.2f}, too good to be true: suspected leakage")
    return reasons
