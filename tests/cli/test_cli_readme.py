"""What the README shows is there: its verbs, its files and its commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.main import get_command

from cli.main import VERBS, make_app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_it_opens_with_the_two_commands() -> None:
    """The first block of commands is `make demo` and `make test`, and nothing else."""
    first = re.search(r"```sh\n(.*?)```", README, re.DOTALL)
    assert first is not None
    assert first[1].split("\n") == ["make demo", "make test", ""]


def test_its_table_names_every_verb_and_no_other() -> None:
    """The verbs of the table are those of the command, in the order of the loop."""
    named = re.findall(r"^\| `([a-z]+)", README, re.MULTILINE)
    assert ("demo", *named) == VERBS


@pytest.mark.parametrize("line", re.findall(r"^alphaloop .*$", README, re.MULTILINE))
def test_each_command_that_it_shows_parses(line: str) -> None:
    """Verb, sub-verb and options of every shown command exist."""
    words = line.removesuffix("&").split()[1:]
    command = get_command(make_app())
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, line
        command = command.commands[name]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options, line


def test_every_file_that_it_links_to_is_there() -> None:
    """Links stay inside the repository and lead somewhere."""
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
