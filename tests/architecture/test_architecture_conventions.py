"""Conventions that keep the tree readable by a newcomer."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

import alphaloop
from alphaloop.runtime.package_roots import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
LAZY_EXPORT = """from lazy_loader import attach_stub
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)"""
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("room", PACKAGES)
def test_a_package_init_is_its_docstring(room: str) -> None:
    """Each package's `__init__.py` says what lives there; its only code exports the names of its stub.

    The version stands in the core's, where the build reads it without running code.
    """
    for path in (ROOT / room).rglob("__init__.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), f"{path.relative_to(ROOT)} has no docstring"
        code = ast.unparse(ast.Module(tree.body[1:], []))
        expected = LAZY_EXPORT if path.with_suffix(".pyi").exists() else ""
        if path == ROOT / "alphaloop" / "__init__.py":
            expected += f"\n__version__ = {alphaloop.__version__!r}"
        assert code == expected, f"{path.relative_to(ROOT)} runs code at import"


def test_every_test_states_a_sentence() -> None:
    """Each test's docstring is the sentence that it proves."""
    silent = []
    for path in TESTS:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                if not (ast.get_docstring(node) or "").rstrip().endswith("."):
                    silent.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert silent == []


def test_test_files_have_names_of_their_own() -> None:
    """No two test files share a name, so any of them can be named alone."""
    names = Counter(path.name for path in TESTS)
    assert [name for name, count in names.items() if count > 1] == []


def test_test_folders_are_no_packages() -> None:
    """`tests/features` with an `__init__.py` could be imported in place of the room."""
    assert list((ROOT / "tests").rglob("__init__.py")) == []
