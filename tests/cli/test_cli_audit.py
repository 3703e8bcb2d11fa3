"""The audit commands: one line of what is wrong, and of the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from alphaloop.clock import SystemClock
from alphaloop.journal.store import Journal
from alphaloop.settings.settings import load_settings
from cli.main import run_command


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a journal of three records whose anchors are lost."""
    monkeypatch.setenv("ALPHALOOP_HOME", str(tmp_path))
    paths = load_settings().paths
    with (
        Journal(paths.journal, paths.anchors, SystemClock()) as journal,
        journal.writer("trading") as writer,
    ):
        writer.append_many([("fill", {"n": number}) for number in range(3)])
    paths.anchors.unlink()
    return tmp_path


def test_a_journal_that_was_never_anchored_names_the_verb_that_adopts_it(home, capsys):
    """`verify` says in one line what is missing and what to do, and `adopt` mends it for good."""
    assert run_command(["audit", "verify"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "was never anchored" in line
    assert "alphaloop audit adopt --by NAME --reason TEXT" in line
    assert "altered" not in line
    assert (
        run_command(["audit", "adopt", "--by", "an operator", "--reason", "moved here without its anchors"])
        == 0
    )
    capsys.readouterr()
    assert run_command(["audit", "verify"]) == 0
    shown = capsys.readouterr().out
    assert "whole" in shown
    assert "adopted by an operator: moved here without its anchors" in shown


def test_a_journal_that_cannot_be_opened_is_not_called_altered(home, capsys):
    """What could not be looked at says nothing of whether it is whole."""
    journal = load_settings().paths.journal
    journal.unlink()
    journal.mkdir()
    assert run_command(["audit", "verify"]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "could not be verified" in line
    assert "cannot be opened" in line
    assert "altered" not in line
    # Nor is the advice of the other commands to begin a new one.
    assert run_command(["audit", "replay", "al-0"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be opened" in line
    assert "start anew" not in line


def test_nobody_adopts_without_a_name(home, capsys):
    """An adoption without a reason is refused, and nothing is anchored."""
    assert run_command(["audit", "adopt", "--by", "an operator", "--reason", ""]) == 2
    assert "--reason TEXT" in capsys.readouterr().err
    assert not load_settings().paths.anchors.exists()
