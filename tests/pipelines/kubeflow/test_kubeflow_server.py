"""Requests run on a Kubeflow server, once each, whatever the server does; schedules change without a gap."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, VendorError
from alphaloop.journal.opening import open_journal
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, PIPELINE_STREAM, REQUEST_STREAM
from alphaloop.settings.settings import Settings
from monitoring.retrain_trigger import RETRAIN_REQUEST
from pipelines.conclusions import conclude
from pipelines.kubeflow.schedule import PipelineSchedule
from pipelines.request_queue import RETRAIN_ABANDONED, RETRAIN_FAILED, RETRAIN_FINISHED, RETRAIN_STARTED
from pipelines.request_runner import RequestRunner

RUN = "retraining-c1"
CRON = "0 30 21 * * 1-5"


@pytest.fixture
def journal(settings: Settings) -> Iterator[Journal]:
    """A journal with one retrain request."""
    with open_journal(settings, SystemClock()) as opened:
        request = {"cause_id": "c1", "model": "equities", "family": "momentum"}
        opened.append(REQUEST_STREAM, RETRAIN_REQUEST, request, unique="cause_id")
        yield opened


def end(kubeflow: Any, state: str) -> None:
    """End all runs on the server that are under way."""
    for run in kubeflow.runs.values():
        run.state = state if run.state == "RUNNING" else run.state


def propose_it(journal: Journal, version: str = "2", run: str = RUN) -> None:
    """Journal what the last step of the run journals."""
    conclude(journal, CANDIDATE_PROPOSED, {"cause_id": "c1", "version": version, "pipeline_run": run})


def kinds(journal: Journal) -> list[str]:
    return [one.kind for one in journal.records(PIPELINE_STREAM) if one.kind.startswith("retrain.")]


def test_a_request_is_submitted_once_under_its_cause_and_followed(
    settings: Settings, journal: Journal, kubeflow: Any
) -> None:
    """Runners killed and doubled find the run by its name; it ends with the journalled conclusion."""
    for _ in range(3):
        assert RequestRunner(settings, journal).turn() == []
    (run,) = kubeflow.runs.values()
    assert run.display_name == RUN
    assert run.runtime_config.parameters["cause_id"] == "c1"
    assert str(settings.home) not in str(run)
    propose_it(journal)
    end(kubeflow, "SUCCEEDED")
    (ended,) = RequestRunner(settings, journal).turn()
    assert (ended["conclusion"], ended["version"]) == (CANDIDATE_PROPOSED, "2")
    assert RequestRunner(settings, journal).turn() == []
    assert kinds(journal) == [RETRAIN_STARTED, RETRAIN_FINISHED]


def test_a_server_that_is_away_is_waited_for(settings: Settings, journal: Journal, kubeflow: Any) -> None:
    """Nothing counts as a try while it is away, the note says so, and the run begins once it is back."""
    runner = RequestRunner(settings, journal)
    kubeflow.away = True
    assert runner.turn() == []
    assert kubeflow.url in runner.note
    kubeflow.away = False
    runner.turn()
    assert runner.note == ""
    assert len(kubeflow.runs) == 1
    assert kinds(journal) == [RETRAIN_STARTED]


def test_a_run_that_the_server_forgot_is_submitted_again(
    settings: Settings, journal: Journal, kubeflow: Any
) -> None:
    """It is no try: the second run has the same name and the same id for its steps."""
    runner = RequestRunner(settings, journal)
    runner.turn()
    kubeflow.runs.clear()
    runner.turn()
    (run,) = kubeflow.runs.values()
    assert (run.display_name, run.runtime_config.parameters["run"]) == (RUN, RUN)
    assert kinds(journal) == [RETRAIN_STARTED]


def test_of_two_runs_of_one_cause_the_first_counts(
    settings: Settings, journal: Journal, kubeflow: Any
) -> None:
    """The later one is terminated, and what it concludes is journalled as superseded."""
    runner = RequestRunner(settings, journal)
    runner.turn()
    (first,) = kubeflow.runs.values()
    twin = kubeflow.made("runs", copy(first))
    runner.turn()
    assert kubeflow.terminated == [twin.run_id]
    propose_it(journal, "2")
    propose_it(journal, "3")
    end(kubeflow, "SUCCEEDED")
    (ended,) = runner.turn()
    assert ended["version"] == "2"
    superseded = [one.body["version"] for one in journal.records(PIPELINE_STREAM, "candidate.superseded")]
    assert superseded == ["3"]


def test_the_second_failure_asks_for_a_person(settings: Settings, journal: Journal, kubeflow: Any) -> None:
    """Each failed run is journalled with its reason, the second has a name of its own, a third is none."""
    runner = RequestRunner(settings, journal)
    for _ in range(2):
        assert runner.turn() == []
        end(kubeflow, "FAILED")
        assert runner.turn() == []
    (ended,) = runner.turn()
    assert ended["conclusion"] is None
    assert [run.display_name for run in kubeflow.runs.values()] == [RUN, f"{RUN}-try-2"]
    assert kinds(journal) == [RETRAIN_STARTED, RETRAIN_FAILED] * 2 + [RETRAIN_ABANDONED]
    assert runner.turn() == []


def test_a_token_is_read_from_its_variable_and_sent(
    settings: Settings, kubeflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is asked with the token, which no setting holds."""
    monkeypatch.setenv("KUBEFLOW_TOKEN", "s3cret")
    PipelineSchedule(settings, "features").show()
    assert "Bearer s3cret" in kubeflow.tokens


def test_a_schedule_is_made_once_and_changed_without_a_gap(settings: Settings, kubeflow: Any) -> None:
    """The new recurring run is enabled before the old one is deleted; the same again does nothing."""
    schedule = PipelineSchedule(settings, "features")
    assert schedule.set(CRON, {}, dry_run=True)[0] == "create"
    assert not kubeflow.recurringruns
    assert [one.split()[0] for one in schedule.set(CRON, {})] == ["create", "enable"]
    assert schedule.set(CRON, {}) == []
    kubeflow.asked.clear()
    assert [one.split()[0] for one in schedule.set("0 0 22 * * 1-5", {})] == ["create", "enable", "delete"]
    changes = [one for one in kubeflow.asked if "recurringruns" in one and not one.startswith("get")]
    assert changes == ["post recurringruns", "enable recurringruns", "delete recurringruns"]
    (shown,) = schedule.show()
    assert (shown["cron"], shown["enabled"]) == ("0 0 22 * * 1-5", True)


@pytest.mark.parametrize("place", ["post", "enable", "delete"])
def test_a_change_that_breaks_off_leaves_one_enabled_and_is_finished_by_the_next(
    settings: Settings, kubeflow: Any, place: str
) -> None:
    """Wherever it breaks, a schedule goes on firing, and the next call leaves exactly the new one."""
    schedule = PipelineSchedule(settings, "features")
    schedule.set(CRON, {})
    kubeflow.fail_at = f"{place} recurringruns"
    with pytest.raises(VendorError, match="cannot answer now: 500"):
        schedule.set("0 0 22 * * 1-5", {})
    assert any(one["enabled"] for one in schedule.show())
    kubeflow.fail_at = None
    schedule.set("0 0 22 * * 1-5", {})
    assert [(one["cron"], one["enabled"]) for one in schedule.show()] == [("0 0 22 * * 1-5", True)]


def test_a_schedule_is_disabled_enabled_again_and_deleted(settings: Settings, kubeflow: Any) -> None:
    """Disabling what is not there is refused; deleting it is nothing."""
    schedule = PipelineSchedule(settings, "monitoring")
    with pytest.raises(MissingStateError, match="has no schedule"):
        schedule.disable()
    schedule.set(CRON, {"model": "equities"})
    schedule.disable()
    assert [one["enabled"] for one in schedule.show()] == [False]
    assert [one.split()[0] for one in schedule.set(CRON, {"model": "equities"})] == ["enable"]
    assert len(schedule.delete()) == 1
    assert schedule.delete() == []


def test_a_wrong_time_or_argument_is_refused_before_the_server_is_asked(
    settings: Settings, kubeflow: Any
) -> None:
    """One line names the field, or the argument that the pipeline has."""
    schedule = PipelineSchedule(settings, "monitoring")
    with pytest.raises(InputError, match="the hour '25'"):
        schedule.set("0 0 25 * * *", {"model": "equities"})
    with pytest.raises(InputError, match="needs the argument 'model'"):
        schedule.set(CRON, {})
    assert kubeflow.asked == []
