"""Transitions of a rollout: one journaled, immutable record for each change and its evidence."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from alphaloop.rollout_document import RolloutDocument, RolloutKind, RolloutState

ROLLOUT_TRANSITION = "rollout.transition"


class RolloutOutcome(StrEnum):
    """Outcomes of a finished rollout."""

    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REJECTED = "rejected"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a rollout, as it is journaled.

    Parameters
    ----------
    model, version, champion : str
        Model, challenger, and the champion after the step.
    kind : RolloutKind
        Kind of the rollout.
    state : RolloutState
        State after the step.
    weight : float
        Share of the sleeves that the challenger answers after the step, in [0, 1].
    generation : int
        Generation of the rollout document after the step.
    as_of : str
        Close of the bar that led to the step, as ISO text; empty for a first champion.
    bars : int
        Bars since the rollout started.
    reason : str
        Reason in words.
    layer : str
        Layer of evidence that decided; empty if none did.
    outcome : RolloutOutcome, optional
        None while the rollout goes on.
    by : str
        `controller`, or the operator's name.
    cause : str, optional
        Cause id of the retrain request behind the challenger.
    evidence : dict
        Figures behind the step.
    override : dict, optional
        Override of the gate's verdict.

    Examples
    --------
    >>> from alphaloop.rollout_document import RolloutKind, RolloutState
    >>> step = Transition(
    ...     "equities", "7", "3", RolloutKind.REAL, RolloutState.SHADOW, weight=0.0, generation=4,
    ...     as_of="2020-03-16T20:00:00+00:00", bars=0, reason="shadow", evidence={"live_ic": float("nan")},
    ... )
    >>> step.body()["evidence"]
    {'live_ic': None}
    """

    model: str
    version: str
    champion: str
    kind: RolloutKind
    state: RolloutState
    weight: float
    generation: int
    as_of: str
    bars: int
    reason: str
    layer: str = ""
    outcome: RolloutOutcome | None = None
    by: str = "controller"
    cause: str | None = None
    evidence: dict[str, Any] = field(default_factory=dict)
    override: dict[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """Return the record to journal, with null for NaN and infinite figures."""
        body = asdict(self)
        body["evidence"] = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in self.evidence.items()
        }
        return body


def make_transition(
    document: RolloutDocument,
    challenger: RolloutDocument,
    *,
    as_of: str,
    bars: int,
    reason: str,
    layer: str = "",
    outcome: RolloutOutcome | None = None,
    by: str = "controller",
    evidence: dict[str, Any] | None = None,
) -> Transition:
    """Build the transition to `document` from `challenger`, the rollout's document before it."""
    override = challenger.override
    return Transition(
        model=document.model,
        version=str(challenger.challenger),
        champion=document.champion,
        kind=challenger.kind,
        state=document.state,
        weight=document.weight,
        generation=document.generation,
        as_of=as_of,
        bars=bars,
        reason=reason,
        layer=layer,
        outcome=outcome,
        by=by,
        cause=challenger.cause,
        evidence=evidence or {},
        override=asdict(override) if override else None,
    )
