"""Publication: change the rollout document and the journal together, even if the process dies in between.

A change is journaled as an intent, then the document is written, then the transition is journaled. The next
writer reads the intents first: an intent whose document is stored on the registry took effect, and its
transition is journaled if it is missing; any other intent never took effect. Each change is made under the
role `control/MODEL`, whose token every record of it checks in its own transaction, and under a lock on a
file, which the kernel drops when its holder dies; the registry refuses a document that does not follow the
stored one. So a second controller waits, or is refused, and does no harm. A controller that runs for long
holds the role all the time and gives it as `role`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alphaloop.errors import LeaseLostError
from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.file_lock import exclusive_lock
from models.registry.model_registry import Registry
from rollouts.transition import ROLLOUT_TRANSITION, Transition

log = logging.getLogger(__name__)

ROLLOUT_INTENT = "rollout.intent"
MAX_WAIT_SECONDS = 10.0
"""Longest wait for the role, after which its holder is named."""


class RolloutPublisher:
    """Writer of one model's rollout documents and transitions."""

    def __init__(
        self, model: str, registry: Registry, journal: Journal, role: RoleLease | None = None
    ) -> None:
        self._model, self._registry, self._journal, self._role = model, registry, journal, role

    @property
    def lease_file(self) -> Path:
        """File whose lock grants the right to change this model's document."""
        return self._registry.folder / f".rollout-{quote(self._model, safe='')}.lease"

    def publish(self, before: RolloutDocument | None, step: Transition, after: RolloutDocument) -> Transition:
        """Replace `before` with `after` and journal `step`.

        Raises `RolloutConflictError` if `before` is no longer the stored document; nothing is changed then.
        """
        with self._changing() as role:
            self._reconcile(role)
            intent = {"document": document_digest(after), "step": step.body()}
            self._journal.append(CONTROL_STREAM, ROLLOUT_INTENT, intent, role=role)
            # The document first, because capital follows it: a transition without it would be false.
            self._registry.write_rollout(after, before.generation if before else None)
            try:
                self._journal.append(CONTROL_STREAM, ROLLOUT_TRANSITION, step.body(), role=role)
            except LeaseLostError:
                log.info("another controller took the role over; the transition is reconciled")
                lost = True
            else:
                lost = False
        if lost:
            self.reconcile()
        return step

    def reconcile(self) -> bool:
        """Journal the stored document's transition if its writer died before.

        Returns True if it was missing.
        """
        with self._changing() as role:
            return self._reconcile(role)

    def _reconcile(self, role: RoleLease) -> bool:
        document = self._registry.rollout(self._model)
        if document is None or self._find(ROLLOUT_TRANSITION, document) is not None:
            return False
        intended = self._intent(document)
        if intended is None:
            return False  # not written by a controller, so there is no transition to journal
        self._registry.derive_aliases(self._model)
        self._journal.append(CONTROL_STREAM, ROLLOUT_TRANSITION, intended, role=role)
        return True

    def _find(self, kind: str, document: RolloutDocument) -> Any:
        return self._journal.find(CONTROL_STREAM, kind, model=self._model, generation=document.generation)

    def _intent(self, document: RolloutDocument) -> dict[str, Any] | None:
        intent = self._journal.find(CONTROL_STREAM, ROLLOUT_INTENT, document=document_digest(document))
        return None if intent is None else dict(intent.body["step"])

    @contextmanager
    def _changing(self) -> Iterator[RoleLease]:
        with exclusive_lock(self.lease_file):
            if self._role is not None and not self._role.is_lost:
                yield self._role
                return
            with self._journal.take_role(control_role(self._model), wait=MAX_WAIT_SECONDS) as role:
                yield role


def document_digest(document: RolloutDocument) -> str:
    """Compute the SHA-256 of a document's JSON, by which an intent names its document."""
    return hashlib.sha256(document.to_json().encode()).hexdigest()
