"""How often each transition was taken, counted from the journal, so that a restart forgets none."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import NamedTuple

from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.rollout_document import RolloutState
from rollouts.policy import RolloutPolicy
from rollouts.transition import CONTROL_STREAM, TRANSITION, Outcome

LAYERS = ("recomputation", "guard", *RolloutPolicy.SHARES)
NONE, OTHER = "none", "other"
"""What there was not, and what a later release may have journaled."""
CONTROLLER, OPERATOR = "controller", "operator"


class Step(NamedTuple):
    """A kind of transition: between two states, by whose verdict, with what outcome, by whose hand."""

    before: str
    after: str
    layer: str
    outcome: str
    by: str


@dataclass(frozen=True, slots=True)
class Tally:
    """The transitions of one model so far, and the newest one's record; None where there is none."""

    steps: dict[Step, int]
    newest: Record | None


class TransitionCounter:
    """Counts the transitions of one model; reads only what was journaled since it last did."""

    def __init__(self, model: str, journal: Journal) -> None:
        self._model, self._journal = model, journal
        self._steps: Counter[Step] = Counter()
        self._newest: Record | None = None
        self._read = 0
        self._reading = threading.Lock()

    def tally(self) -> Tally:
        """All transitions up to now; raises `DamagedStoreError` for a journal that cannot be read."""
        with self._reading:
            for record in self._journal.records(CONTROL_STREAM, TRANSITION, after=self._read):
                self._read = record.seq
                if record.body["model"] == self._model:
                    self._steps[self._step(record)] += 1
                    self._newest = record
            return Tally(dict(self._steps), self._newest)

    def _step(self, record: Record) -> Step:
        body, last = record.body, self._newest
        return Step(
            before=_known(last.body["state"] if last else None, set(RolloutState)),
            after=_known(body["state"], set(RolloutState)),
            layer=_known(body["layer"], LAYERS),
            outcome=_known(body["outcome"], set(Outcome)),
            by=CONTROLLER if body["by"] == CONTROLLER else OPERATOR,
        )


def _known(value: str | None, names: Container[str]) -> str:
    if not value:
        return NONE
    return value if value in names else OTHER
