"""The README opens with what a newcomer asks; its blocks and links are tested with those of the documents."""

from __future__ import annotations

import re
from pathlib import Path

from cli.main import VERBS

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


def test_its_first_screen_says_what_a_newcomer_asks() -> None:
    """Before the first details: who it is for, one's own data, the report's picture, and its words."""
    first = README.partition("\n## ")[0]
    for words in ("For whom", "Your own data", "alphaloop init", "docs/images/report.png"):
        assert words in first, words
    for word in ("sleeve", "gate", "card", "champion", "canary"):
        assert re.search(rf"^\| .*\*\*{word}\*\*", first, re.MULTILINE), word
    assert len(first.splitlines()) < 60
