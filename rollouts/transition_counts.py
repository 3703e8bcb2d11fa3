"""Counts of rollout transitions, read from the journal so that a restart loses none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutState
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.transition import ROLLOUT_TRANSITION, RolloutOutcome

LAYERS = ("recomputation", "guard", *RolloutPolicy.SHARES)
NONE, OTHER = "none", "other"
"""Label values for "none" and for values written by a newer release."""
CONTROLLER, OPERATOR = "controller", "operator"


class TransitionKind(NamedTuple):
    """Kind of a transition: its two states, the layer behind it, its outcome and its author."""

    before: str
    after: str
    layer: str
    outcome: str
    by: str


@dataclass(frozen=True, slots=True)
class TransitionCounts:
    """Transitions of one model so far, with the newest one's record (None before the first)."""

    steps: dict[TransitionKind, int]
    newest: Record | None


class TransitionCounter:
    """Incremental counter of one model's transitions.

    Reads only records that are new since the last call.
    """

    def __init__(self, model: str, journal: Journal) -> None:
        self._model, self._journal = model, journal
        self._steps: Counter[TransitionKind] = Counter()
        self._newest: Record | None = None
        self._read = 0
        self._reading = threading.Lock()

    def tally(self) -> TransitionCounts:
        """Count all transitions up to now; raises `DamagedStoreError` for an unreadable journal."""
        with self._reading:
            for record in self._journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION, after=self._read):
                self._read = record.seq
                if record.body["model"] == self._model:
                    self._steps[self._step(record)] += 1
                    self._newest = record
            return TransitionCounts(dict(self._steps), self._newest)

    def _step(self, record: Record) -> TransitionKind:
        body, last = record.body, self._newest
        return TransitionKind(
            before=_known(last.body["state"] if last else None, set(RolloutState)),
            after=_known(body["state"], set(RolloutState)),
            layer=_known(body["layer"], LAYERS),
            outcome=_known(body["outcome"], set(RolloutOutcome)),
            by=CONTROLLER if body["by"] == CONTROLLER else OPERATOR,
        )


def _known(value: str | None, names: Container[str]) -> str:
    if not value:
        return NONE
    return value if value in names else OTHER
