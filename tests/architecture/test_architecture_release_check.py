"""The table of what a release promises names what exists; a line is judged by how its commands end."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests import release_check

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [command for line in release_check.read_lines() for command in line.get("run", ())]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_targets_files_and_tests_that_exist(command: str) -> None:
    """A renamed test does not turn a promise into a command that runs nothing."""
    program, *words = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[0] in targets
        return
    assert program in {"pytest", "python", "alphaloop"}
    for word in words:
        if word.endswith((".py", "/")) or "::" in word:
            file, _, test = word.partition("::")
            assert (ROOT / file).exists(), file
            assert not test or f"def {test.partition('[')[0]}(" in (ROOT / file).read_text(), test


def test_no_line_has_the_name_of_another() -> None:
    """A line can be chosen by its name."""
    names = [line["name"] for line in release_check.read_lines()]
    assert len(set(names)) == len(names)


def test_a_line_is_held_by_commands_that_all_end_well() -> None:
    """The first command that fails ends the line, and is named."""
    held = release_check.check_line(
        {"name": "a", "holds": "zero", "run": ["python -c 'print(\"3 passed\")'"]}
    )
    assert (held.state, held.note) == ("held", "zero, 3 passed")
    failed = release_check.check_line(
        {"name": "a", "holds": "zero", "run": ["python -c 'raise SystemExit(3)'", "python -c 0"]}
    )
    assert failed.state == "FAILED"
    assert "ended with 3" in failed.note
    missing = release_check.check_line({"name": "a", "holds": "zero", "run": ["no-such-program"]})
    assert missing.state == "FAILED"
    assert "cannot be run" in missing.note


def test_a_line_without_a_command_says_why() -> None:
    """What is not run is in the table, with its reason."""
    line = release_check.check_line({"name": "a", "holds": "zero", "not_run": "takes a cluster"})
    assert line.row().split() == ["not", "run", "0", "s", "a:", "takes", "a", "cluster"]


def test_a_line_with_neither_or_both_is_refused(tmp_path: Path) -> None:
    """Either commands or the reason why there are none."""
    table = tmp_path / "lines.toml"
    for rest in ("", 'run = ["make lint"]\nnot_run = "no"'):
        table.write_text(f'[[line]]\nname = "a"\nholds = "b"\n{rest}\n')
        with pytest.raises(ValueError, match="takes either run or not_run"):
            release_check.read_lines(table)
