"""`alphaloop rollout`: power is told before a start, shares can be compared, rules can be rehearsed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from cli import main
from rollouts import operations

from .conftest import Universe


@pytest.fixture
def at_home(universe: Universe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Universe:
    """The universe as the settings of the command's environment, with its first champion."""
    home = universe.settings.home
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALPHALOOP_HOME", str(home))
    controller, _ = operations._open(universe.settings, universe.settings.serving.model)
    controller.crown("1")
    return universe


def test_a_start_tells_that_its_duration_cannot_decide(
    at_home: Universe, capsys: pytest.CaptureFixture[str]
) -> None:
    """The warning goes to the error stream and into the answer; the rollout starts all the same."""
    override = ["--override", "drill", "--reason", "to see the warning"]
    assert main.run_command(["rollout", "start", "2", *override, "--json"]) == 0
    shown = capsys.readouterr()
    assert "84 bars find a challenger that is worse by 0.2 standard deviations" in shown.err
    answer = json.loads(shown.out)
    assert answer["state"] == "shadow"
    assert "of rollouts" in answer["warning"]
    assert main.run_command(["rollout", "status", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["stage"]["bars_left_at_least"] == 5
    assert told["power"]["effect"] == 0.2


def test_a_start_tells_that_the_card_is_of_another_strategy(
    at_home: Universe, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ranges were measured with other weights than trade now; with the same, nothing is said."""
    override = ["--override", "drill", "--reason", "to see the warning"]
    assert main.run_command(["rollout", "start", "2", *override, "--json"]) == 0
    assert "figures on the card" not in capsys.readouterr().err
    assert main.run_command(["rollout", "abort", "--reason", "seen"]) == 0
    monkeypatch.setenv("ALPHALOOP_TRADING__TILT", "0.9")
    assert main.run_command(["rollout", "start", "2", *override, "--json"]) == 0
    assert "figures on the card of version 2 are of the strategy allocation (" in capsys.readouterr().err


def test_two_versions_are_compared_at_any_share(
    at_home: Universe, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--ab --share 0.3` gives the version its sleeves at once; a share without it is refused."""
    override = ["--override", "drill", "--reason", "to compare"]
    assert main.run_command(["rollout", "start", "2", *override, "--share", "0.3"]) != 0
    assert "takes a share" in capsys.readouterr().err
    assert main.run_command(["rollout", "start", "2", *override, "--ab", "--share", "0.3", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["state"], answer["weight"], answer["kind"]) == ("canary", 0.3, "ab")
    assert main.run_command(["rollout", "abort", "--reason", "seen enough", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["champion"] == "1"


def test_a_rehearsal_is_printed(at_home: Universe, capsys: pytest.CaptureFixture[str]) -> None:
    """Rates and times come as a table, and a question without sense is refused in one line."""
    asked = ["--rollouts", "24", "--names", "6", "--bars", "20", "--effect", "1"]
    assert main.run_command(["rollout", "simulate", *asked]) == 0
    shown = capsys.readouterr().out
    assert "false rollback" in shown
    assert "false promotion" in shown
    assert re.search(r"\bnames\W+6\b", shown)
    assert main.run_command(["rollout", "simulate", "--names", "50"]) != 0
    assert "50 names are asked for" in capsys.readouterr().err
