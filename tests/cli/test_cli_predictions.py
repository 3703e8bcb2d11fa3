"""`alphaloop predictions compact` is a job: idempotent, and careful with what a rollout still needs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alphaloop.rollout_document import RolloutDocument, RolloutState
from cli import main
from cli.commands import predictions
from models.registry.model_registry import Registry
from tests.serving.test_serving_compaction import MODEL, files, write


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The prediction log of an empty home."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path))
    return tmp_path / "predictions"


def _compacted(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main.run_command(["predictions", "compact", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["models"]


def test_without_a_log_there_is_nothing_to_do(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule may run before anything is logged: exit 0."""
    assert _compacted(capsys) == {}


def test_past_days_become_one_file_and_a_second_run_changes_nothing(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run counts, a run merges, and the next one has nothing to do."""
    write(log, 3)
    assert _compacted(capsys, "--dry-run")[MODEL]["merged"] == 3
    assert len(files(log)) == 3
    assert _compacted(capsys)[MODEL]["merged"] == 3
    kept = files(log)
    assert len(kept) == 1
    assert set(_compacted(capsys)[MODEL].values()) == {0}
    assert files(log) == kept


def test_rows_of_a_rollout_under_way_stay(
    log: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days since the rollout began are kept, whatever the limit is; without a rollout they go."""
    write(log, 2)
    (log.parent / "registry").mkdir()
    document = RolloutDocument(
        model=MODEL, champion="1", challenger="2", state=RolloutState.SHADOW,
        started=datetime(2024, 5, 1, tzinfo=UTC).isoformat(),
    )  # fmt: skip
    monkeypatch.setattr(Registry, "rollout", lambda self, model: document)
    assert _compacted(capsys, "--keep-days", "30")[MODEL]["removed"] == 0
    monkeypatch.setattr(Registry, "rollout", lambda self, model: None)
    assert _compacted(capsys, "--keep-days", "30")[MODEL]["removed"] == 1
    assert files(log) == []


def test_the_verb_is_listed() -> None:
    """`alphaloop predictions` is among the verbs, and its module registers it."""
    assert "predictions" in main.VERBS
    assert predictions.app.registered_commands
