"""Candidates of retraining: which proposed version is rolled out next, and what becomes of the others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from alphaloop.errors import AlphaloopError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, CANDIDATE_REFUSED, CONTROL_STREAM, PIPELINE_STREAM
from alphaloop.rollout_document import RolloutDocument, RolloutState
from rollouts.controller import RolloutController
from rollouts.transition import ROLLOUT_TRANSITION

CANDIDATE_TAKEN = "candidate.taken"
"""Kind of the record by which control ends a conclusion: `cause_id`, `version`, `outcome`, `reason`."""


class CandidateQueue:
    """Conclusions of retraining that control has not answered yet.

    When no rollout is under way, the newest proposal is rolled out and the older ones are passed over. A
    refused candidate is told of once. Each cause is answered once, whatever is killed in between: a rollout
    that names the cause in its first transition is the answer to it.

    Parameters
    ----------
    journal : Journal
        Journal with the conclusions.
    controller : RolloutController
        Controller of the model's rollout.
    role : RoleLease
        The role under which the answers are written.
    tell : callable
        Called with a line about each answer.
    """

    def __init__(
        self,
        journal: Journal,
        controller: RolloutController,
        role: RoleLease,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._journal, self._controller, self._role, self._tell = journal, controller, role, tell
        self._read: dict[str, int] = {}
        self._open: dict[str, tuple[str, dict[str, Any]]] = {}
        self._answered: set[str] = set()

    def waiting(self) -> list[dict[str, Any]]:
        """Return the conclusions without an answer, oldest first."""
        self._follow()
        return [body for _, body in self._open.values()]

    def take_up(self, as_of: datetime) -> RolloutDocument | None:
        """Answer what can be answered at the bar `as_of`; returns the document of a rollout that began."""
        self._follow()
        for cause, (kind, body) in list(self._open.items()):
            if kind == CANDIDATE_REFUSED:
                self._answer(cause, body, "refused", "; ".join(body.get("reasons", ())))
        if not self._open or self._controller.document.state is not RolloutState.STEADY:
            return None
        *older, newest = self._open.items()
        for cause, (_, body) in older:
            self._answer(cause, body, "superseded", f"version {newest[1][1]['version']} is newer")
        cause, (_, body) = newest
        try:
            document = self._controller.start(str(body["version"]), as_of, cause=cause)
        except AlphaloopError as error:
            self._answer(cause, body, "not started", str(error))
            return None
        self._answer(cause, body, "started", f"rollout in shadow from {as_of.isoformat()}")
        return document

    def _follow(self) -> None:
        """Read what was journaled since the last call."""
        for kind in (CANDIDATE_TAKEN, ROLLOUT_TRANSITION):
            for record in self._news(CONTROL_STREAM, kind):
                cause = record.body.get("cause_id") or record.body.get("cause")
                if cause and record.body.get("model") == self._controller.model:
                    self._answered.add(str(cause))
                    self._open.pop(str(cause), None)
        for kind in (CANDIDATE_PROPOSED, CANDIDATE_REFUSED):
            for record in self._news(PIPELINE_STREAM, kind):
                cause = str(record.body["cause_id"])
                if record.body["model"] == self._controller.model and cause not in self._answered:
                    self._open.setdefault(cause, (kind, record.body))

    def _news(self, stream: str, kind: str) -> list[Any]:
        place = f"{stream}/{kind}"
        found = list(self._journal.records(stream, kind, after=self._read.get(place, 0)))
        if found:
            self._read[place] = found[-1].seq
        return found

    def _answer(self, cause: str, body: dict[str, Any], outcome: str, reason: str) -> None:
        answer = {
            "cause_id": cause,
            "model": self._controller.model,
            "version": body["version"],
            "outcome": outcome,
            "reason": reason,
        }
        self._journal.append(CONTROL_STREAM, CANDIDATE_TAKEN, answer, unique="cause_id", role=self._role)
        self._answered.add(cause)
        self._open.pop(cause, None)
        self._tell(f"candidate {body['version']} of '{self._controller.model}': {outcome} ({reason})")
