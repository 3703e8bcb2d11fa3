"""What control does with the conclusions of retraining: each is answered once, and one is rolled out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import InputError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, CANDIDATE_REFUSED, CONTROL_STREAM, PIPELINE_STREAM
from alphaloop.rollout_document import RolloutDocument, RolloutState
from rollouts.candidates import CANDIDATE_TAKEN, CandidateQueue
from rollouts.transition import ROLLOUT_TRANSITION

BAR = datetime(2020, 3, 16, 20, tzinfo=UTC)
MODEL = "equities"


@dataclass
class Starter:
    """What of a controller the queue needs: it starts what it is asked to."""

    model: str = MODEL
    document: RolloutDocument = field(default_factory=lambda: RolloutDocument(model=MODEL, champion="1"))
    started: list[tuple[str, str | None]] = field(default_factory=list)
    refusal: str = ""

    def start(self, version: str, as_of: datetime, *, cause: str | None = None) -> RolloutDocument:
        """Put the version into shadow."""
        if self.refusal:
            raise InputError(self.refusal)
        self.started.append((version, cause))
        self.document = self.document.next(
            state=RolloutState.SHADOW, challenger=version, started=as_of.isoformat()
        )
        return self.document


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "j.db", tmp_path / "a.jsonl", ReplayClock(BAR)) as opened:
        yield opened


@pytest.fixture
def role(journal: Journal) -> Iterator[RoleLease]:
    with journal.take_role("control/equities") as taken:
        yield taken


def conclude(journal: Journal, cause: str, version: str, kind: str = CANDIDATE_PROPOSED, **more: Any) -> None:
    """Journal the conclusion of a retraining."""
    body = {"cause_id": cause, "version": version, "model": MODEL, "reasons": [], **more}
    journal.append(PIPELINE_STREAM, kind, body)


def answers(journal: Journal) -> list[tuple[str, str]]:
    """Version and outcome of each answer."""
    records = journal.records(CONTROL_STREAM, CANDIDATE_TAKEN)
    return [(record.body["version"], record.body["outcome"]) for record in records]


def test_the_newest_proposal_is_rolled_out_and_older_ones_are_superseded(
    journal: Journal, role: RoleLease
) -> None:
    """Only one challenges at a time; what it replaces is told of with its reason."""
    starter, said = Starter(), []
    queue = CandidateQueue(journal, starter, role, said.append)  # type: ignore[arg-type]
    for number in (2, 3, 4):
        conclude(journal, f"c{number}", str(number))
    document = queue.take_up(BAR)
    assert document is not None
    assert (document.challenger, starter.started) == ("4", [("4", "c4")])
    assert answers(journal) == [("2", "superseded"), ("3", "superseded"), ("4", "started")]
    assert said[0] == "candidate 2 of 'equities': superseded (version 4 is newer)"


def test_a_proposal_waits_while_a_rollout_is_under_way(journal: Journal, role: RoleLease) -> None:
    """It is taken up at the first bar after that rollout has ended."""
    starter = Starter()
    queue = CandidateQueue(journal, starter, role)  # type: ignore[arg-type]
    conclude(journal, "c2", "2")
    assert queue.take_up(BAR) is not None
    conclude(journal, "c3", "3")
    assert queue.take_up(BAR) is None
    assert [one["version"] for one in queue.waiting()] == ["3"]
    starter.document = starter.document.settled("1")
    assert queue.take_up(BAR) is not None
    assert answers(journal) == [("2", "started"), ("3", "started")]


def test_a_refused_candidate_is_told_of_once(journal: Journal, role: RoleLease) -> None:
    """Its reasons are in the answer, and after a restart nothing is said again."""
    starter, said = Starter(), []
    conclude(journal, "c2", "2", CANDIDATE_REFUSED, reasons=["its IC may be chance"])
    for _ in range(2):
        CandidateQueue(journal, starter, role, said.append).take_up(BAR)  # type: ignore[arg-type]
    assert answers(journal) == [("2", "refused")]
    assert said == ["candidate 2 of 'equities': refused (its IC may be chance)"]
    assert starter.started == []


def test_a_rollout_that_began_before_its_answer_was_journaled_is_not_started_again(
    journal: Journal, role: RoleLease
) -> None:
    """Killed between transition and answer, control finds the cause in the transition."""
    conclude(journal, "c2", "2")
    step = {"cause": "c2", "model": MODEL, "version": "2"}
    journal.append(CONTROL_STREAM, ROLLOUT_TRANSITION, step, role=role)
    starter = Starter()
    queue = CandidateQueue(journal, starter, role)  # type: ignore[arg-type]
    assert queue.take_up(BAR) is None
    assert (starter.started, queue.waiting()) == ([], [])


def test_a_proposal_that_cannot_start_is_answered_with_the_reason(journal: Journal, role: RoleLease) -> None:
    """One version that may not start does not keep later ones from starting."""
    starter = Starter(refusal="version 2 of 'equities' is the champion already")
    queue = CandidateQueue(journal, starter, role)  # type: ignore[arg-type]
    conclude(journal, "c2", "2")
    assert queue.take_up(BAR) is None
    assert answers(journal) == [("2", "not started")]
    starter.refusal = ""
    conclude(journal, "c3", "3")
    assert queue.take_up(BAR) is not None


def test_another_models_candidates_are_left_alone(journal: Journal, role: RoleLease) -> None:
    """A process controls one model."""
    starter = Starter()
    conclude(journal, "c2", "2", model="futures")
    queue = CandidateQueue(journal, starter, role)  # type: ignore[arg-type]
    assert queue.take_up(BAR) is None
    assert (queue.waiting(), answers(journal)) == ([], [])
