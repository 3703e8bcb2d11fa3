"""The promotion gate, which approves a model or refuses it with reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from alphaloop.settings.training import TrainingSettings
from models.evaluation.look_ahead import LookAheadResult
from models.evaluation.walk_forward import Evaluation
from models.onnx.export import Fidelity
from models.registry.card import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """Thresholds that a model must reach.

    Parameters
    ----------
    min_ic_tstat : float
        Smallest t-statistic of the IC; by default the normal distribution's bound at 1 %.
    max_pvalue : float
        Largest p-value of the permutation test, which accounts for the persistence of the scores.
    min_active_ir, max_active_ir : float
        Bounds of the annual information ratio over equal weight, net of cost. Above the upper bound, over
        `finding_years` or more, a result is rarely honest: that is a finding, which a proof or a named
        override answers.
    finding_years : float
        Years of tests from which the upper bound applies.
    max_ic : float
        Largest IC on daily prices; above it the model must have seen the outcome.

    Examples
    --------
    >>> from alphaloop.settings.training import TrainingSettings
    >>> GatePolicy.from_settings(TrainingSettings(max_pvalue=0.05)).max_pvalue
    0.05
    """

    min_ic_tstat: float = 2.33
    max_pvalue: float = 0.01
    min_active_ir: float = 0.0
    max_active_ir: float = 1.0
    finding_years: float = 5.0
    max_ic: float = 0.15

    @classmethod
    def from_settings(cls, settings: TrainingSettings) -> GatePolicy:
        """Return the policy that `settings.training` describes."""
        return cls(max_pvalue=settings.max_pvalue)

    @classmethod
    def for_baseline(cls, settings: TrainingSettings) -> GatePolicy:
        """Return the policy for a first champion that learns nothing.

        Both tests of its IC use one level, `training.baseline_max_pvalue`.
        """
        level = settings.baseline_max_pvalue
        return cls(max_pvalue=level, min_ic_tstat=min(cls().min_ic_tstat, NormalDist().inv_cdf(1 - level)))


@dataclass(frozen=True, slots=True)
class GateResult:
    """The verdict of the promotion gate.

    Parameters
    ----------
    passed : bool
        True if the model may be promoted.
    reasons : tuple of str
        Every figure and threshold that counts against the model.
    findings : tuple of str
        Figures that are rarely honest; they are among the reasons unless `proof` answers them.
    proof : str
        Statement of a look-ahead check that found nothing.
    """

    passed: bool
    reasons: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    proof: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as stored on the card."""
        stored: dict[str, Any] = {"passed": self.passed, "reasons": list(self.reasons)}
        if self.findings:
            stored["findings"] = list(self.findings)
        if self.proof:
            stored["proof"] = self.proof
        return stored


def judge(
    evaluation: Evaluation,
    fidelity: Fidelity,
    champion: Card | None,
    policy: GatePolicy | None = None,
    *,
    proof: LookAheadResult | None = None,
) -> GateResult:
    """Judge a model by its evaluation, its file and the champion's card.

    A figure that could not be computed (NaN) counts against the model.

    Parameters
    ----------
    evaluation : Evaluation
        Out-of-sample figures of the model.
    fidelity : Fidelity
        Comparison of the ONNX file with the native model.
    champion : Card or None
        Card of the champion to beat; None where there is none yet.
    policy : GatePolicy, optional
        Thresholds.
    proof : LookAheadResult, optional
        Look-ahead check of the model's features: if it passed it answers the findings, else it refuses the
        model.

    Returns
    -------
    GateResult
        The verdict with its reasons.
    """
    policy = policy or GatePolicy()
    flagged = gate_findings(evaluation, policy)
    reasons = [
        *fidelity.reasons,
        *_too_weak(evaluation, champion, policy),
        *_too_good(evaluation, policy),
    ]
    if proof is not None and not proof.passed:
        reasons.append(proof.words)
    if proof is None:
        reasons += flagged
    answered = proof is not None and proof.passed and bool(flagged)
    return GateResult(not reasons, tuple(reasons), tuple(flagged), proof.words if answered and proof else "")


def gate_findings(evaluation: Evaluation, policy: GatePolicy) -> list[str]:
    """List figures that are rarely honest, and require a proof or an override."""
    if evaluation.active_ir_net > policy.max_active_ir and evaluation.years >= policy.finding_years:
        return [
            f"active_ir_net {evaluation.active_ir_net:.2f} over {evaluation.years:.1f} years is above "
            f"{policy.max_active_ir:.2f}, which is rarely honest: it asks for a proof that no feature looks "
            "ahead, or for a named override"
        ]
    return []


def _too_weak(evaluation: Evaluation, champion: Card | None, policy: GatePolicy) -> list[str]:
    reasons = []
    if not evaluation.ic_tstat >= policy.min_ic_tstat:
        reasons.append(
            f"ic_tstat {evaluation.ic_tstat:.2f} is below {policy.min_ic_tstat:.2f}: "
            f"an IC of {evaluation.ic:.4f} may be chance"
        )
    if not evaluation.ic_pvalue <= policy.max_pvalue:
        reasons.append(_too_likely(evaluation, policy))
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


def _too_likely(evaluation: Evaluation, policy: GatePolicy) -> str:
    statement = f"ic_pvalue {evaluation.ic_pvalue:.4f} is above {policy.max_pvalue:.4f}: "
    if evaluation.arrangements * policy.max_pvalue < 1:
        return (
            f"{statement}names that are scored on the same bars have only {evaluation.arrangements:.0f} "
            f"orders, and none is rarer than {1 / evaluation.arrangements:.4f}; more symbols can show more"
        )
    return f"{statement}the same scores under other names have an IC as significant too often"


def _too_good(evaluation: Evaluation, policy: GatePolicy) -> list[str]:
    best = max(evaluation.ic, evaluation.ic_one_bar)
    if best > policy.max_ic:
        return [f"ic {best:.3f} is above {policy.max_ic:.2f}, too good to be true: suspected leakage"]
    return []
