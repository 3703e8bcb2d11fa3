"""Records of closed bars in the journal, while a rollout is under way."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument
from rollouts.evidence.closing.closed_bar import ClosedBar

EVIDENCE_CLOSED = "evidence.closed"
"""Kind of the record of a closed bar: which rows count, which were scored again, and their digest."""
MAX_WAIT_SECONDS = 10.0
"""Seconds to wait for the control role where the caller does not hold it."""


class ClosingRecords:
    """The journalled closings of one model's rollouts.

    A bar outside a rollout decides nothing and has no record.

    Parameters
    ----------
    journal : Journal
        Journal with the stream `control`.
    model : str
        Name of the model.
    role : RoleLease, optional
        The role `control/MODEL`, where the caller holds it for long; else each closing takes it.
    """

    def __init__(self, journal: Journal, model: str, role: RoleLease | None = None) -> None:
        self._journal, self._model, self._role = journal, model, role

    def read(self, document: RolloutDocument) -> dict[datetime, dict[str, Any]]:
        """Read the closings of the rollout of `document` by the close of their bars."""
        return {
            datetime.fromisoformat(record.body["as_of"]): record.body
            for record in self._journal.records(CONTROL_STREAM, EVIDENCE_CLOSED)
            if record.body["rollout"] == _rollout(document)
        }

    def write(self, document: RolloutDocument, closed: ClosedBar) -> dict[str, Any]:
        """Journal a closing; returns the one that counts, which is the first of its bar."""
        rollout, at = _rollout(document), closed.as_of.isoformat()
        body = {
            "closing": f"{rollout} {at}",
            "rollout": rollout,
            "model": self._model,
            "as_of": at,
            "rows": list(closed.logged),
            "recomputed": list(closed.recomputed),
            "digest": closed.digest,
        }
        if self._role is not None and not self._role.is_lost:
            return self._append(body, self._role)
        with self._journal.take_role(control_role(self._model), wait=MAX_WAIT_SECONDS) as role:
            return self._append(body, role)

    def _append(self, body: dict[str, Any], role: RoleLease) -> dict[str, Any]:
        record = self._journal.append(CONTROL_STREAM, EVIDENCE_CLOSED, body, unique="closing", role=role)
        return dict(record.body)


def _rollout(document: RolloutDocument) -> str:
    return f"{document.model} {document.challenger} {document.started}"
