"""Rollout documents: one JSON value per model that says which versions answer, and the challenger's share.

The document is stored in the registry, carries a generation, and is written by the rollout controller only;
the server's router reads it. Evidence is never part of it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from alphaloop.errors import DamagedStoreError
from alphaloop.runtime.stored_values import parse_stored


class RolloutState(StrEnum):
    """The state of a model's rollout; `steady` means that there is no challenger."""

    STEADY = "steady"
    SHADOW = "shadow"
    CANARY = "canary"


class RolloutKind(StrEnum):
    """The kind of a rollout, for reports."""

    REAL = "real"
    SABOTAGE = "sabotage"
    SIMULATED = "simulated"
    AB = "ab"


@dataclass(frozen=True, slots=True)
class Override:
    """A named exception to the rollout's rules, journaled when it is used.

    `by` and `reason` say who made it and why. `rotate_inputs` is a fault injection: the server rotates the
    challenger's live feature vector by that many positions, the classic training-serving skew.
    """

    name: str
    by: str
    reason: str
    rotate_inputs: int = 0


@dataclass(frozen=True, slots=True)
class RolloutDocument:
    """The state of one model's rollout.

    Parameters
    ----------
    model : str
        Name of the model.
    champion, challenger : str
        Versions; the challenger is None outside of a rollout.
    generation : int
        Number that grows with every change.
    state, kind : RolloutState, RolloutKind
        State of the rollout, and its kind for reports.
    weight : float
        Share of the sleeves that the challenger answers.
    salt : str
        Text that ranks the sleeves, so that every rollout draws its own.
    override : Override, optional
        Exception to the rules.
    started, stage_started : str, optional
        ISO timestamps of bars.
    cause : str, optional
        Identifier of the event that led to the rollout.
    baseline : str, optional
        Champion to return to, where two other versions are compared.
    """

    model: str
    champion: str
    generation: int = 1
    state: RolloutState = RolloutState.STEADY
    challenger: str | None = None
    weight: float = 0.0
    salt: str = ""
    kind: RolloutKind = RolloutKind.REAL
    override: Override | None = None
    started: str | None = None
    stage_started: str | None = None
    cause: str | None = None
    baseline: str | None = None

    def next(self, **changes: Any) -> RolloutDocument:
        """Return a copy with `changes` and the next generation."""
        return replace(self, generation=self.generation + 1, **changes)

    def settled(self, champion: str) -> RolloutDocument:
        """Return the document after the rollout has ended with `champion`."""
        return RolloutDocument(model=self.model, champion=champion, generation=self.generation + 1)

    def to_json(self) -> str:
        """Serialise the document as JSON with sorted keys."""
        stored = asdict(self)
        if self.baseline is None:
            # The previous release cannot read the key `baseline`, and does not need it where it is None.
            del stored["baseline"]
        return json.dumps(stored, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RolloutDocument:
        """Parse a stored document; raise `DamagedStoreError` if it cannot be read.

        Unknown fields, which a newer release may have written, are ignored.
        """
        try:
            return parse_stored(cls, text)
        except ValueError as error:
            raise DamagedStoreError(f"the rollout document {text[:80]!r} cannot be read: {error}") from error
