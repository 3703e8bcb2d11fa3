"""Retraining runs through Kubeflow's own local runner, once a cause, and ends with a reasoned word."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import yaml

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, UnknownNameError, VendorError
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings, load_settings, settings_from_json
from models.registry.model_registry import Registry
from monitoring.drift_check import check_drift_once
from pipelines import catalogue, local_runner, steps
from pipelines.request_runner import RETRAIN_FINISHED, RETRAIN_STARTED, RequestRunner


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
    assert ended["conclusion"] == (steps.CANDIDATE_PROPOSED if card.passed else steps.CANDIDATE_REFUSED)
    assert ended["reasons"] == list(card.gate["reasons"])
    assert (workspace.paths.drift / f"{ended['pipeline_run']}.html").stat().st_size > 100_000
    assert requests.consume() == []
    kinds = [record.kind for record in journal.records(steps.PIPELINE_STREAM)]
    assert kinds == [RETRAIN_STARTED, ended["conclusion"], RETRAIN_FINISHED]


def test_a_step_that_fails_fails_the_run_and_says_which(tmp_path: Path) -> None:
    """In an empty workspace the run ends with the step's own words, not with success."""
    with pytest.raises(VendorError, match="pipeline 'retrain'"):
        local_runner.run_pipeline(
            "retrain", load_settings(home=tmp_path), model="equities", family="lightgbm", cause_id="c"
        )


def test_a_step_needs_what_comes_before_it(tmp_path: Path) -> None:
    """Without a snapshot there is nothing to train on, and the error names the command that makes one."""
    with pytest.raises(MissingStateError, match="alphaloop features build"):
        steps.freeze_snapshot(load_settings(home=tmp_path).model_dump_json())


def test_the_pipeline_compiles_to_what_kubeflow_takes(tmp_path: Path) -> None:
    """The compiled IR names every step and the condition on the gate."""
    path = catalogue.write_pipeline_yaml("retrain", tmp_path / "retrain.yaml")
    (spec,) = [part for part in yaml.safe_load_all(path.read_text()) if "root" in part]
    tasks = spec["root"]["dag"]["tasks"]
    assert {"freeze-snapshot", "train-candidate", "gate-verdict", "drift-report"} <= set(tasks)
    assert any("condition" in name for name in tasks)


def test_settings_reach_a_step_unchanged() -> None:
    """Nothing that the local runner replaces is left in their text, and they are read as they were."""
    home = "/srv/python3/{{$.pipeline_job_name}}/python3.11"
    text = local_runner._escaped(load_settings(home=home).model_dump_json())
    assert "python3" not in text
    assert "{{" not in text
    assert settings_from_json(text).home == Path(home)


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
    with pytest.raises(UnknownNameError, match="known: retrain"):
        catalogue.find_pipeline("retrian")


def test_one_look_at_the_log_tells_what_it_saw(workspace: Settings) -> None:
    """Monitoring once reads every logged bar and reports the latest share against its threshold."""
    report = check_drift_once(workspace)
    assert report["bars"] == 30
    assert 0 <= report["share"] <= 1
    assert report["calibration"]["window"] == workspace.drift.window
