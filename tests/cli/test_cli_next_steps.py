"""Each verb ends with the next one to call, which exists, and never in JSON."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cli import main, output
from cli.next_steps import ENDS, NEXT_STEPS, next_step

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ROOT / "cli" / "commands"


@cache
def whole_command() -> Any:
    """The command with all verbs."""
    return get_command(main.make_app())


def verbs(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each verb with a body, as `data check`, and its command."""
    command = command or whole_command()
    inner = getattr(command, "commands", {})
    if path and (not inner or command.invoke_without_command):
        yield " ".join(path), command
    for name, one in inner.items():
        yield from verbs(one, (*path, name))


def verb_of(situation: str) -> str:
    """The verb with which a situation begins."""
    known = dict(verbs())
    return max((name for name in known if f"{situation} ".startswith(f"{name} ")), key=len, default="")


def test_the_table_has_every_verb_once() -> None:
    """A verb has a next step or is said to end; nothing else stands in the table."""
    known = set(dict(verbs()))
    assert len(known) > 40
    with_step = {verb_of(situation) for situation in NEXT_STEPS}
    assert with_step | ENDS == known
    assert with_step & ENDS == set()


@pytest.mark.parametrize("situation", NEXT_STEPS)
def test_each_step_is_a_verb_with_its_options(situation: str) -> None:
    """The step's verb exists and takes the arguments and options that the step gives it."""
    filled = re.sub(r"{\w+}", "1", NEXT_STEPS[situation])
    words = shlex.split(filled.removeprefix("cd 1 && "))
    assert words.pop(0) == "alphaloop"
    command: Any = whole_command()
    context = command.make_context("alphaloop", list(words), resilient_parsing=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
        context = command.make_context(command.name, list(words), parent=context)
    assert command.name in {name.split()[-1] for name in dict(verbs())}, filled


def test_each_step_is_said_by_its_verb() -> None:
    """The file of a verb asks for the steps of its situations by name, and for no others."""
    asked = set()
    for path in COMMANDS.glob("*.py"):
        file = path.stem.split("_")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
            if text in NEXT_STEPS and text.split()[0] == file:
                asked.add(text)
    assert asked == set(NEXT_STEPS)


def test_a_step_is_the_last_line_for_people_and_absent_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes to standard error, so that a pipe holds the result alone; with --json there is none."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    assert main.run_command(["data", "list"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "next: alphaloop data check SOURCE\n"
    assert "next:" not in shown.out
    assert main.run_command(["data", "list", "--json"]) == 0
    shown = capsys.readouterr()
    assert "next:" not in shown.out + shown.err


def test_what_found_something_wrong_names_no_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bars that are refused are not built on: the error is the last line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main, "_stop_what_was_started", lambda: None)
    (tmp_path / "bars").mkdir()
    (tmp_path / "bars" / "A.csv").write_text("date,close\n2024-01-02,1\n2024-01-03,-1\n")
    (tmp_path / "alphaloop.toml").write_text('[data]\nsource = "folder:bars"\n')
    assert main.run_command(["data", "check"]) == 2
    assert "next:" not in capsys.readouterr().err


def test_values_are_quoted_for_a_shell(capsys: pytest.CaptureFixture[str]) -> None:
    """A value in a step is one word of the shell, whatever it holds."""
    assert next_step("data show named", source="folder:my bars") == "alphaloop data check 'folder:my bars'"
    output.print_next("")
    assert capsys.readouterr().err == ""
