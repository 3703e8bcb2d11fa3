"""Publication: change the rollout document and the journal together, even if the process dies in between.

The document is a row of the journal's database, replaced in the transaction of its transition record, under
the role `control/MODEL`, on the generation that the decision was made on. So a controller that was stopped
and wakes, or a second one, is refused and does no harm. Tag and aliases on the registry are copies, written
afterwards and repaired whenever they differ. A controller that runs for long holds the role all the time and
gives it as `role`.

Earlier releases kept the document in the tag alone, and journaled an intent before it. Such a document is
moved to its row by the first change; an intent whose document is the one of the tag took effect, and its
transition is journaled first if it is missing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alphaloop.errors import UnknownNameError, VendorError
from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.rollout_document import RolloutDocument
from alphaloop.runtime.file_lock import exclusive_lock
from models.registry.model_registry import Registry
from rollouts.transition import ROLLOUT_TRANSITION, Transition

log = logging.getLogger(__name__)

ROLLOUT_INTENT = "rollout.intent"
"""Kind of a record of earlier releases: a change that was about to be made."""
DOCUMENT_MOVED = "rollout.moved"
"""Kind of the record by which a document of an earlier release came from the registry to its row."""
MAX_WAIT_SECONDS = 10.0
"""Longest wait for the role, after which its holder is named."""


class RolloutPublisher:
    """Writer of one model's rollout documents and transitions."""

    def __init__(
        self, model: str, registry: Registry, journal: Journal, role: RoleLease | None = None
    ) -> None:
        self._model, self._registry, self._journal, self._role = model, registry, journal, role
        self._answers: tuple[tuple[str, dict[str, Any]], ...] = ()

    @property
    def lease_file(self) -> Path:
        """File whose lock grants the right to change this model's document."""
        return self._registry.folder / f".rollout-{quote(self._model, safe='')}.lease"

    def document(self) -> RolloutDocument | None:
        """Return the stored document: the row, or the tag of an earlier release; None if there is neither."""
        stored = self._journal.documents.read(self._model)
        return self._registry.copied_rollout(self._model) if stored is None else stored

    def publish(self, before: RolloutDocument | None, step: Transition, after: RolloutDocument) -> Transition:
        """Replace `before` with `after` and journal `step`.

        Raises `RolloutConflictError` if `before` is no longer the stored document; nothing is changed then.
        """
        with self._changing() as role:
            self._move(role)
            self._registry.require_versions(after)
            expected = before.generation if before else None
            steps = [(ROLLOUT_TRANSITION, step.body()), *self._answers]
            self._journal.publish_document(after, expected, steps, role)
            self._copy(after)
        return step

    @contextmanager
    def answering(self, answer: tuple[str, dict[str, Any]]) -> Iterator[None]:
        """Journal `answer` in the same transaction as the change that is published in this block."""
        self._answers = (answer,)
        try:
            yield
        finally:
            self._answers = ()

    def reconcile(self) -> bool:
        """Finish what a dead controller, or one of an earlier release, left; True if anything was missing."""
        with self._changing() as role:
            moved = self._move(role)
        return self.repair_copies() or moved

    def repair_copies(self) -> bool:
        """Compare tag and aliases with the document, and set what differs; True if anything did."""
        document = self._journal.documents.read(self._model)
        if document is None or not self._registry.copy_rollout(document):
            return False
        log.warning(
            "tag or aliases of '%s' were not those of generation %d, and are again",
            self._model, document.generation,
        )  # fmt: skip
        return True

    def _copy(self, document: RolloutDocument) -> None:
        try:
            self._registry.copy_rollout(document)
        except VendorError as error:
            # The document is changed all the same: control repairs its copies once the registry is back.
            log.warning("generation %d has no copy yet: %s", document.generation, error)

    def _move(self, role: RoleLease) -> bool:
        """Move the document of an earlier release to its row; True if there was one without its row."""
        if self._journal.documents.read(self._model) is not None:
            return False
        document = self._registry_copy()
        if document is None:
            return False
        kind, body = DOCUMENT_MOVED, {"model": self._model, "generation": document.generation}
        intended = self._intent(document)
        if intended is not None and self._find(ROLLOUT_TRANSITION, document) is None:
            kind, body = ROLLOUT_TRANSITION, intended
        self._journal.publish_document(document, None, [(kind, body)], role)
        return True

    def _registry_copy(self) -> RolloutDocument | None:
        try:
            return self._registry.copied_rollout(self._model)
        except UnknownNameError:
            return None

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
