"""Tries of the runner: what counts as one, and when a person is asked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import VendorError
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM, PIPELINE_STREAM, REQUEST_STREAM
from alphaloop.settings.settings import Settings
from monitoring.retrain_trigger import RETRAIN_REQUEST
from pipelines import request_runner
from pipelines.request_runner import (
    RETRAIN_ABANDONED,
    RETRAIN_FAILED,
    RETRAIN_FINISHED,
    RETRAIN_STARTED,
    RequestRunner,
)

Outcomes = list[Any]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    clock = ReplayClock(datetime(2020, 3, 16, tzinfo=UTC))
    with Journal(tmp_path / "j.db", tmp_path / "a.jsonl", clock) as opened:
        yield opened


@pytest.fixture
def outcomes(monkeypatch: pytest.MonkeyPatch) -> Outcomes:
    """What the next runs come to: a conclusion, or an error to raise; the names of the runs are kept."""
    planned: Outcomes = []

    def run(name: str, settings: Settings, **arguments: str) -> dict[str, Any]:
        outcome = planned.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return {"pipeline_run": arguments["run"], "conclusion": outcome}

    monkeypatch.setattr(request_runner, "run_pipeline", run)
    return planned


def ask(journal: Journal, cause: str, stream: str = REQUEST_STREAM) -> None:
    """Journal a request."""
    journal.append(stream, RETRAIN_REQUEST, {"cause_id": cause, "model": "equities", "family": "lightgbm"})


def kinds(journal: Journal) -> list[str]:
    """The kinds of the runner's records, in their order."""
    return [record.kind for record in journal.records(PIPELINE_STREAM)]


@pytest.fixture
def runner(journal: Journal) -> RequestRunner:
    return RequestRunner(Settings(), journal)


def test_a_failed_run_is_tried_once_more(journal: Journal, runner: RequestRunner, outcomes: Outcomes) -> None:
    """The second run has the name of the first, so that what was done is found."""
    ask(journal, "c1")
    outcomes += [VendorError("step 'train_candidate' failed"), "candidate.refused"]
    (ended,) = runner.consume()
    assert (ended["conclusion"], ended["pipeline_run"]) == ("candidate.refused", "retrain-c1")
    assert kinds(journal) == [RETRAIN_STARTED, RETRAIN_FAILED, RETRAIN_STARTED, RETRAIN_FINISHED]
    assert runner.pending() == []


def test_the_second_failure_asks_for_a_person(
    journal: Journal, runner: RequestRunner, outcomes: Outcomes
) -> None:
    """The cause is abandoned with the reason, and other causes are run."""
    ask(journal, "c1")
    ask(journal, "c2")
    outcomes += [VendorError("no memory"), VendorError("no memory"), "candidate.proposed"]
    first, second = runner.consume()
    assert (first["conclusion"], first["failed"]) == (None, "no memory")
    assert second["conclusion"] == "candidate.proposed"
    (abandoned,) = journal.records(PIPELINE_STREAM, RETRAIN_ABANDONED)
    assert abandoned.body == {"cause_id": "c1", "tries": 2, "reason": "no memory"}
    assert runner.pending() == []


def test_a_run_whose_runner_was_killed_counts_for_no_try(
    journal: Journal, runner: RequestRunner, outcomes: Outcomes
) -> None:
    """Its cause stays pending, however often that happens, and two failures are still to come."""
    ask(journal, "c1")
    for _ in range(3):
        outcomes.append(KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            runner.consume()
    assert [request["cause_id"] for request in runner.pending()] == ["c1"]
    outcomes += [VendorError("no memory"), "candidate.proposed"]
    assert runner.consume()[0]["conclusion"] == "candidate.proposed"


def test_requests_of_an_earlier_release_are_run_too(
    journal: Journal, runner: RequestRunner, outcomes: Outcomes
) -> None:
    """They stand among the transitions; the same cause on both streams is one request."""
    for stream in (CONTROL_STREAM, REQUEST_STREAM):
        ask(journal, "c1", stream)
    outcomes.append("candidate.refused")
    assert len(runner.consume()) == 1
