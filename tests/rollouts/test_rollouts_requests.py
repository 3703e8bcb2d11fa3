"""Requests of persons to a running control: asked, answered once, and acted on where none runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from alphaloop.bars import to_datetime
from alphaloop.clock import SystemClock
from alphaloop.errors import RoleHeldError, RolloutConflictError, VendorError
from alphaloop.journal.opening import open_journal
from alphaloop.journal.roles import RoleLease, control_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM, REQUEST_STREAM
from alphaloop.rollout_document import Override, RolloutState
from rollouts import operations, requests
from rollouts.requests import ROLLOUT_ANSWER, ROLLOUT_REQUEST, RequestQueue
from rollouts.transition import ROLLOUT_TRANSITION
from tests.rollouts.conftest import Universe

DESK = Override("desk", "ann", "paper only")


@pytest.fixture
def crowned(universe: Universe) -> Universe:
    """The universe with version 1 as champion."""
    with open_journal(universe.settings, SystemClock()) as journal:
        operations.make_controller(
            universe.settings, universe.settings.serving.model, journal, universe.registry
        ).crown("1")
    return universe


class RunningControl:
    """A control that holds the role elsewhere; `queue` is what it acts by."""

    def __init__(self, universe: Universe) -> None:
        self.journal: Journal = open_journal(universe.settings, SystemClock())
        self.model, self.universe = universe.settings.serving.model, universe
        self.role: RoleLease = self.journal.take_role(control_role(self.model), holder="elsewhere:7")
        self.as_of: datetime = to_datetime(universe.bars.timestamps[-1])
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def queue(self) -> RequestQueue:
        """The queue of a control that has just started."""
        controller = operations.make_controller(
            self.universe.settings, self.model, self.journal, self.universe.registry, self.role
        )
        return RequestQueue(self.journal, controller, self.role)

    def run(self) -> None:
        """Act on requests until the end."""
        queue = self.queue()

        def follow() -> None:
            while not self._ended.wait(0.02):
                queue.take_up(self.as_of)

        self._thread = threading.Thread(target=follow)
        self._thread.start()

    def end(self) -> None:
        """Give the role back."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.role.release()
        self.journal.close()


@pytest.fixture
def control(crowned: Universe) -> Iterator[RunningControl]:
    """A control that holds the role."""
    made = RunningControl(crowned)
    yield made
    made.end()


def kinds(journal: Journal, stream: str = CONTROL_STREAM) -> list[str]:
    """Kinds of the records of a stream."""
    return [record.kind for record in journal.records(stream)]


def start(universe: Universe, version: str = "2", **changes: Any) -> Any:
    """What `alphaloop rollout start` calls."""
    model = universe.settings.serving.model
    return operations.start_rollout(universe.settings, model, version, override=DESK, by="ann", **changes)


def test_a_command_acts_itself_where_no_control_runs(crowned: Universe) -> None:
    """Start and abort change the document at once, and ask nobody."""
    assert start(crowned).state is RolloutState.SHADOW
    step = operations.abort_rollout(crowned.settings, crowned.settings.serving.model, "enough", "ann")
    assert step is not None and (step.outcome, step.by) == ("rolled_back", "ann")
    with open_journal(crowned.settings, SystemClock()) as journal:
        assert kinds(journal, REQUEST_STREAM) == []


def test_a_running_control_is_asked_and_answers(control: RunningControl, crowned: Universe) -> None:
    """The commands wait for what control did, and give its refusal as their own error."""
    control.run()
    assert start(crowned).challenger == "2"
    with pytest.raises(RolloutConflictError, match=r"control refused: version 2 .* is in shadow"):
        start(crowned)
    step = operations.promote_challenger(crowned.settings, control.model, "trusted", "ann")
    assert step is not None and (step.outcome, step.by, step.reason) == ("promoted", "ann", "trusted")
    assert kinds(control.journal, REQUEST_STREAM) == [ROLLOUT_REQUEST] * 3


def test_an_answer_is_journaled_with_its_transition(control: RunningControl, crowned: Universe) -> None:
    """Both are there or neither, so that a control that is killed acts once on a request."""
    assert start(crowned, wait=False) is None
    queue, writes = control.queue(), control.journal.publish_document

    def killed(*given: Any) -> Any:
        writes(*given)
        raise VendorError("killed after the commit")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(VendorError, match="killed"):
        patch.setattr(control.journal, "publish_document", killed)
        queue.take_up(control.as_of)
    assert kinds(control.journal)[-2:] == [ROLLOUT_TRANSITION, ROLLOUT_ANSWER]
    before = kinds(control.journal)
    assert control.queue().take_up(control.as_of) == 0
    assert kinds(control.journal) == before


def test_a_request_is_not_lost_while_a_store_is_away(control: RunningControl, crowned: Universe) -> None:
    """A change that failed is tried again by the next call, and is no refusal."""
    assert start(crowned, wait=False) is None
    queue = control.queue()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(VendorError, match="away"):

        def away(*given: Any) -> Any:
            raise VendorError("the database is away")

        patch.setattr(control.journal, "publish_document", away)
        queue.take_up(control.as_of)
    assert queue.take_up(control.as_of) == 1
    assert control.journal.documents.read(control.model).state is RolloutState.SHADOW  # type: ignore[union-attr]


def test_the_holder_of_the_role_is_named_where_it_does_not_answer(
    control: RunningControl, crowned: Universe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded; the request stays, and control acts on it later."""
    monkeypatch.setattr(requests, "MAX_WAIT_SECONDS", 0.2)
    with pytest.raises(RoleHeldError, match=r"request \w{8} is journaled .* held by elsewhere:7"):
        start(crowned)
    assert control.queue().take_up(control.as_of) == 1


def test_a_command_acts_on_its_request_once_the_holder_has_ended(
    control: RunningControl, crowned: Universe
) -> None:
    """The role was given back while the command waited: it does what it had asked for."""
    threading.Timer(0.3, control.role.release).start()
    assert start(crowned).state is RolloutState.SHADOW
    assert kinds(control.journal)[-2:] == [ROLLOUT_TRANSITION, ROLLOUT_ANSWER]
