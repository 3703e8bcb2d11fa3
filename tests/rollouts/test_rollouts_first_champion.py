"""`alphaloop rollout crown`: the first champion by hand, where the gate refused every version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from alphaloop.clock import SystemClock
from alphaloop.errors import InputError, MissingStateError, RolloutConflictError
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CONTROL_STREAM
from alphaloop.settings.settings import Settings, load_settings
from cli import main
from loop import first_champion
from monitoring.drift.calibration import DriftCalibration
from rollouts import operations
from rollouts.transition import ROLLOUT_TRANSITION

from .conftest import Universe

OVERRIDE = first_champion.make_override("desk", "paper only", "ann")


def _journaled(settings: Settings) -> list[dict[str, Any]]:
    journal = Journal(settings.paths.journal, settings.paths.anchors, SystemClock())
    return [record.body for record in journal.records(CONTROL_STREAM, ROLLOUT_TRANSITION)]


@pytest.fixture
def at_home(universe: Universe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Universe:
    """The universe as the settings of the command's environment; no version is champion."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(universe.settings.home))
    assert not universe.registry.card(universe.settings.serving.model, "2").passed
    return universe


def test_a_refused_version_is_crowned_by_a_named_override(
    at_home: Universe, capsys: pytest.CaptureFixture[str]
) -> None:
    """It becomes champion; the transition holds name, person and reason; drift is watched from then on."""
    asked = ["--override", "desk", "--reason", "paper only", "--by", "ann"]
    assert main.run_command(["rollout", "crown", "2", *asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["champion"] == "2"
    (step,) = _journaled(at_home.settings)
    assert (step["version"], step["by"]) == ("2", "ann")
    assert step["override"] == {"name": "desk", "by": "ann", "reason": "paper only", "rotate_inputs": 0}
    assert "paper only" in step["reason"]
    fixed = DriftCalibration.load(at_home.settings.paths.drift)
    assert fixed.feature_set == at_home.frame.feature_set


def test_a_refused_version_needs_the_override_and_a_reason(
    at_home: Universe, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without an override the gate's verdict stands, and the message has the command that sets it aside."""
    assert main.run_command(["rollout", "crown", "2"]) == 2
    assert "alphaloop rollout crown 2 --override NAME --reason WHY" in capsys.readouterr().err
    assert main.run_command(["rollout", "crown", "2", "--override", "desk"]) == 2
    assert "--reason" in capsys.readouterr().err
    assert not operations.has_champion(at_home.settings, at_home.settings.serving.model)


def test_a_start_without_a_champion_crowns(at_home: Universe) -> None:
    """A challenger of nobody is crowned by its override; a comparison of two still needs a champion."""
    asked = ["--override", "desk", "--reason", "paper only"]
    assert main.run_command(["rollout", "start", "2", *asked, "--ab", "--share", "0.3"]) == 2
    assert main.run_command(["rollout", "start", "2", *asked]) == 0
    document = at_home.registry.rollout(at_home.settings.serving.model)
    assert document is not None
    assert (document.champion, document.challenger, document.override) == ("2", None, None)


def test_a_second_champion_has_to_challenge(universe: Universe) -> None:
    """Where there is a champion, crowning is refused, names it, and changes nothing."""
    settings, model = universe.settings, universe.settings.serving.model
    first_champion.crown_first_champion(settings, model, "1", override=OVERRIDE)
    with pytest.raises(RolloutConflictError, match="rollout start 2"):
        first_champion.crown_first_champion(settings, model, "2", override=OVERRIDE)
    assert [step["version"] for step in _journaled(settings)] == ["1"]


def test_little_history_crowns_with_a_warning(universe: Universe) -> None:
    """Where thresholds of drift cannot be fixed, that is said, and nothing is raised."""
    few = replace(
        universe.frame, timestamps=universe.frame.timestamps[:200], values=universe.frame.values[:200]
    )
    assert "drift is not watched" in first_champion.calibrate_drift_monitor(universe.settings, few)


def test_nothing_is_crowned_before_a_training(tmp_path: Path) -> None:
    """A home without a registry is told to train."""
    with pytest.raises(MissingStateError, match="alphaloop train"):
        first_champion.crown_first_champion(
            load_settings(home=tmp_path / "home"), "equities", "1", override=OVERRIDE
        )


def test_a_drill_needs_a_name() -> None:
    """An override without a name is none."""
    assert first_champion.make_override("", "why", "ann") is None
    with pytest.raises(InputError, match="--override"):
        first_champion.make_override("", "why", "ann", rotate_inputs=3)
