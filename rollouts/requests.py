"""Requests of persons to control: start a rollout, promote its challenger, or abort it.

Where a `control run` holds the role `control/MODEL`, a command appends its request to the stream `requests`,
and control answers it. The answer is journaled in the transaction of the transition that it led to, so that
a request is acted on once, whatever is killed in between.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from alphaloop.clock import boot_time, sleep
from alphaloop.errors import BAD_INPUT, AlphaloopError, RoleHeldError, RolloutConflictError
from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM, REQUEST_STREAM
from alphaloop.rollout_document import Override, RolloutKind
from alphaloop.runtime.stored_values import restore
from rollouts.controller import RolloutController
from rollouts.transition import RolloutOutcome

ROLLOUT_REQUEST, ROLLOUT_ANSWER = "rollout.request", "rollout.answer"
"""Kinds of the records: what is asked for, and whether it was `done` or `refused`, and why."""
MAX_WAIT_SECONDS = 10.0
"""Longest wait for an answer, after which the holder of the role is named."""
POLL_SECONDS = 0.1


class RequestedAction(StrEnum):
    """Actions that control can be asked for."""

    START = "start"
    PROMOTE = "promote"
    ABORT = "abort"


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """One request to control; the fields from `version` on are those of a start.

    Parameters
    ----------
    model : str
        Name of the model.
    action : RequestedAction
        What to do.
    by, reason : str
        Who asks, and why.
    version : str
        Version to roll out.
    kind : RolloutKind
        Kind of the rollout.
    share : float
        Share of the sleeves in (0, 1), for a comparison only.
    against : str, optional
        Version to compare with.
    override : Override, optional
        Exception to the gate's verdict.
    id : str
        Identifier, drawn at random.
    """

    model: str
    action: RequestedAction
    by: str = ""
    reason: str = ""
    version: str = ""
    kind: RolloutKind = RolloutKind.REAL
    share: float = 0.0
    against: str | None = None
    override: Override | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def act(self, controller: RolloutController, as_of: datetime) -> None:
        """Do what is asked for, from the bar `as_of` on; errors are those of the controller."""
        if self.action is RequestedAction.START:
            controller.start(
                self.version,
                as_of,
                kind=self.kind,
                override=self.override,
                share=self.share,
                against=self.against,
            )
            return
        promoted = self.action is RequestedAction.PROMOTE
        outcome = RolloutOutcome.PROMOTED if promoted else RolloutOutcome.ROLLED_BACK
        controller.end(outcome, as_of, reason=self.reason, by=self.by)


class RequestQueue:
    """Requests to the control of one model that are not answered yet.

    Parameters
    ----------
    journal : Journal
        Journal of requests and answers.
    controller : RolloutController
        Controller of the model, under `role`.
    role : RoleLease
        The role `control/MODEL`.
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
        self._read = self._answers_read = 0
        self._open: dict[str, RolloutRequest] = {}
        self._answered: set[str] = set()

    def take_up(self, as_of: datetime) -> int:
        """Act on each request from the bar `as_of` on, oldest first; return how many were answered.

        A request that cannot be granted is answered with the reason. Raises `LeaseLostError` where the role
        was taken over, `VendorError` where a store is away: what is left is answered by the next call.
        """
        self._follow()
        answered = 0
        for request in list(self._open.values()):
            self._answer(request, as_of)
            answered += 1
        return answered

    def _answer(self, request: RolloutRequest, as_of: datetime) -> None:
        done = _answer_body(request, "done", "")
        try:
            with self._controller.publication.answering((ROLLOUT_ANSWER, done)):
                request.act(self._controller, as_of)
            outcome = "done"
        except AlphaloopError as error:
            if error.exit_code != BAD_INPUT:
                raise
            refused = _answer_body(request, "refused", str(error))
            self._journal.append(CONTROL_STREAM, ROLLOUT_ANSWER, refused, unique="request", role=self._role)
            outcome = f"refused ({error})"
        self._open.pop(request.id)
        self._answered.add(request.id)
        self._tell(f"{request.action} of '{request.model}', asked for by {request.by}: {outcome}")

    def _follow(self) -> None:
        """Read what was asked for and answered since the last call."""
        for record in self._journal.records(CONTROL_STREAM, ROLLOUT_ANSWER, after=self._answers_read):
            self._answers_read = record.seq
            self._answered.add(str(record.body["request"]))
        for record in self._journal.records(REQUEST_STREAM, ROLLOUT_REQUEST, after=self._read):
            self._read = record.seq
            if record.body["model"] == self._controller.model:
                self._open[str(record.body["id"])] = restore(RolloutRequest, record.body)
        for known in self._answered & set(self._open):
            del self._open[known]


def act_or_ask(
    journal: Journal,
    request: RolloutRequest,
    act: Callable[[RoleLease, RolloutRequest | None], None],
    *,
    wait: bool = True,
) -> bool:
    """Act where nobody holds the role of control, else ask its holder and wait for the answer.

    Parameters
    ----------
    journal : Journal
        Journal of roles, requests and answers.
    request : RolloutRequest
        What is asked for.
    act : callable
        Acts under the role that it is given: on the request, or, where that is None, on the requests that
        are journaled.
    wait : bool
        Whether to wait for the answer of a holder.

    Returns
    -------
    bool
        False where the request was left to its holder.

    Raises
    ------
    RolloutConflictError
        Where control refused, with its reason.
    RoleHeldError
        Where the holder of the role did not answer in `MAX_WAIT_SECONDS`.
    """
    role_name = control_role(request.model)
    try:
        with journal.take_role(role_name) as role:
            act(role, request)
            return True
    except RoleHeldError as error:
        held = error
    journal.append(REQUEST_STREAM, ROLLOUT_REQUEST, asdict(request), unique="id")
    until = boot_time() + MAX_WAIT_SECONDS
    while wait:
        answer = journal.find(CONTROL_STREAM, ROLLOUT_ANSWER, request=request.id)
        if answer is not None:
            if answer.body["outcome"] == "refused":
                raise RolloutConflictError(f"control refused: {answer.body['reason']}")
            return True
        if boot_time() > until:
            raise RoleHeldError(
                f"request {request.id[:8]} is journaled and not answered after {MAX_WAIT_SECONDS:g} s; {held}"
            ) from held
        try:
            # Its holder may have ended, or have been another command.
            with journal.take_role(role_name) as role:
                act(role, None)
        except RoleHeldError as error:
            held = error
            sleep(POLL_SECONDS)
    return False


def _answer_body(request: RolloutRequest, outcome: str, reason: str) -> dict[str, Any]:
    return {"request": request.id, "model": request.model, "outcome": outcome, "reason": reason}
