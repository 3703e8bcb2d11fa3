"""The digest of code changes with the code, and with nothing else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from alphaloop.code_digest import code_digest, module_digest
from alphaloop.plugins import load_file

CODE = '''"""A strategy."""

import math  # for the root


class Root:
    """Take the root."""

    power: float = 0.5
    """Of what is seen."""

    def weights(self, view):
        # Nothing to explain.
        text = """kept

        as it is  """
        if view:
            return math.pow(view, self.power)
        return [1, 2]
'''
PROSE = [
    ("a docstring", '"""Take the root."""', '"""Take the square root,\n\n    of a number."""'),
    ("the docstring of a module", '"""A strategy."""\n', ""),
    ("the docstring of an attribute", '    """Of what is seen."""\n', ""),
    ("a comment", "# Nothing to explain.", "# Much to explain."),
    ("a comment behind code", "  # for the root", ""),
    ("blank lines", "\n\n\nclass", "\n\nclass"),
    ("spaces at the end", "[1, 2]\n", "[1, 2]   \n"),
    ("the width of the indentation", "            return", "                return"),
]
EDITS = [
    ("a number", "0.5", "0.6"),
    ("a name", "power", "exponent"),
    ("a text", "as it is", "as it was"),
    ("a blank line in a text", "kept\n\n", "kept\n"),
    ("an import", "import math", "import cmath as math"),
    ("a branch", "            return math.pow(view, self.power)\n", "            pass\n"),
    ("what belongs to a branch", "        return [1, 2]", "            return [1, 2]"),
]


@pytest.mark.parametrize(("before", "after"), [one[1:] for one in PROSE], ids=[one[0] for one in PROSE])
def test_prose_and_layout_keep_the_digest(before: str, after: str) -> None:
    """Comments, docstrings, blank lines and the width of an indentation decide nothing."""
    assert before in CODE
    assert code_digest(CODE.replace(before, after)) == code_digest(CODE)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_any_system_have_one_digest(end: str) -> None:
    """A file that was checked out on another system is the same code."""
    assert code_digest(CODE.replace("\n", end)) == code_digest(CODE)


@pytest.mark.parametrize(("before", "after"), [one[1:] for one in EDITS], ids=[one[0] for one in EDITS])
def test_any_edit_of_code_changes_the_digest(before: str, after: str) -> None:
    """Code that can change a weight changes the digest, white space in a text too."""
    assert before in CODE
    assert code_digest(CODE.replace(before, after)) != code_digest(CODE)


def test_the_digest_is_that_of_the_code_that_runs(tmp_path: Path) -> None:
    """A file edited after it was loaded keeps its digest until it is loaded anew; no file has none."""
    path = tmp_path / "own.py"
    path.write_text(CODE)
    module = load_file(path)
    assert module_digest(module.__name__) == code_digest(CODE)
    path.write_text(CODE.replace("0.5", "0.6"))
    assert module_digest(module.__name__) == code_digest(CODE)
    assert load_file(path).__name__ == module.__name__
    assert module_digest(module.__name__) == code_digest(CODE.replace("0.5", "0.6"))
    assert module_digest(sys.__name__) == ""
