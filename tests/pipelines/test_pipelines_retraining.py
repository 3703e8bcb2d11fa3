"""Retraining runs through Kubeflow's own local runner, once a cause, and ends with a reasoned word."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, UnknownNameError, VendorError
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings, load_settings
from models.registry.model_registry import Registry
from monitoring.drift_check import check_drift_once
from pipelines import catalogue, local_runner, steps
from pipelines.conclusions import (
    CANDIDATE_PROPOSED,
    CANDIDATE_REFUSED,
    CONCLUSION_CLAIMED,
    PIPELINE_STREAM,
)
from pipelines.request_queue import RETRAIN_FINISHED, RETRAIN_STARTED
from pipelines.request_runner import RequestRunner
from pipelines.run_parameter import run_parameter, settings_digest
from pipelines.steps.step_results import STEP_DONE


@pytest.fixture(scope="module")
def journal(workspace: Settings) -> Journal:
    return Journal(workspace.paths.journal, workspace.paths.anchors, SystemClock())


def test_a_request_is_run_once_and_ends_with_the_gates_word(workspace: Settings, journal: Journal) -> None:
    """The request leads to a registered version with a verdict, under any path; asking again runs nothing."""
    assert "python3 {{desk}}" in str(workspace.home)
    requests = RequestRunner(workspace, journal)
    assert [one["cause_id"] for one in requests.pending()] == ["cause-1"]
    (ended,) = requests.consume()
    card = Registry(workspace.paths.registry).card(workspace.serving.model, ended["version"])
    assert card.family == "lightgbm"
    assert card.pipeline_run == ended["pipeline_run"]
    assert ended["conclusion"] == (CANDIDATE_PROPOSED if card.passed else CANDIDATE_REFUSED)
    assert ended["reasons"] == list(card.gate["reasons"])
    assert (workspace.paths.drift / f"{ended['pipeline_run']}.html").stat().st_size > 100_000
    assert requests.consume() == []
    kinds = [record.kind for record in journal.records(PIPELINE_STREAM)]
    assert [kind for kind in kinds if kind != STEP_DONE] == [
        RETRAIN_STARTED, CONCLUSION_CLAIMED, ended["conclusion"], RETRAIN_FINISHED,
    ]  # fmt: skip
    assert ended["settings_digest"] == settings_digest(workspace)


def test_a_step_that_fails_fails_the_run_and_says_which(tmp_path: Path) -> None:
    """In an empty workspace the run ends with the step's own words, not with success."""
    with pytest.raises(VendorError, match="pipeline 'retraining'"):
        local_runner.run_pipeline(
            "retrain", load_settings(home=tmp_path), model="equities", family="lightgbm", cause_id="c"
        )


def test_a_step_needs_what_comes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a snapshot there is nothing to train on, and the error names the command that makes one."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path))
    with pytest.raises(MissingStateError, match="alphaloop features build"):
        steps.freeze_snapshot(run_parameter(load_settings()), "run-1")


def test_an_argument_that_would_be_rewritten_is_refused(tmp_path: Path) -> None:
    """A model with such a name is named, before anything runs; so is a folder of temporary files."""
    settings = load_settings(home=tmp_path)
    with pytest.raises(InputError, match="model is 'python3-desk'"):
        local_runner.run_pipeline("retrain", settings, model="python3-desk", family="lightgbm", cause_id="c")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(InputError, match="TMPDIR"):
        patch.setattr(tempfile, "tempdir", str(tmp_path / "python3"))
        local_runner.run_pipeline("retrain", settings, model="equities", family="lightgbm", cause_id="c")


def test_an_unknown_pipeline_is_named() -> None:
    """The error lists those that there are."""
    with pytest.raises(
        UnknownNameError, match="known: backfill, evaluation, features, monitoring, retraining, training"
    ):
        catalogue.find_pipeline("retrian")


def test_one_look_at_the_log_tells_what_it_saw(workspace: Settings) -> None:
    """Monitoring once reads every logged bar and reports the latest share against its threshold."""
    report = check_drift_once(workspace)
    assert report["bars"] == 30
    assert 0 <= report["share"] <= 1
    assert report["calibration"]["window"] == workspace.drift.window
