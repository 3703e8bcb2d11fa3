"""Public functions say the shapes, units and errors that a caller has to know."""

from __future__ import annotations

import ast
import builtins
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from alphaloop.errors import DataError, InputError
from alphaloop.runtime.package_roots import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
CHECK = ROOT / "tests" / "docs_check.py"


@pytest.fixture(scope="module")
def check() -> Any:
    """The module of the check, which is a script and no part of a package."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("docs_check", CHECK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def unclear(scores: npt.NDArray[np.float64], cost: float) -> Vector:  # type: ignore[name-defined]  # noqa: F821
    """Do something."""
    if cost < 0:
        raise InputError("cost")
    return _checked(scores)


def clear(scores: npt.NDArray[np.float64], cost: float) -> Vector:  # type: ignore[name-defined]  # noqa: F821
    """Do something with `scores`, `[symbols]`, at `cost`, a fraction; the result is `[symbols]`.

    `InputError` for a negative cost, `DataError` without scores.
    """
    if cost < 0:
        raise InputError("cost")
    return _checked(scores)


def handled(path: Path) -> None:
    """Do something that cannot fail."""
    try:
        raise DataError(str(path))
    except DataError:
        pass


def _checked(scores: Any) -> Any:
    if scores is None:
        raise DataError("scores")
    return scores


SECTION = re.compile(r"^(Parameters|Returns|Yields|Raises)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", re.M | re.S)
TYPE_NAME = re.compile(r"\b[A-Z]+[a-z][A-Za-z]*\b")
# Types of libraries that a docstring names without its module importing them.
OF_LIBRARIES = {"ArrowException", "Engine", "DataFrame", "Generator", "Table"}


def types_in(docstring: str) -> set[str]:
    """Class names where numpydoc sections state a type."""
    named: set[str] = set()
    for title, body in SECTION.findall(docstring):
        for line in body.splitlines():
            if line and not line.startswith(" ") and not line.endswith("."):
                name, colon, stated = line.partition(" : ")
                named.update(TYPE_NAME.findall(stated if colon else name if title != "Parameters" else ""))
    return named


def test_types_named_in_docstrings_exist() -> None:
    """Each class that a docstring states as the type of something is one of the tree, or imported there."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for room in PACKAGES
        for path in (ROOT / room).rglob("*.py")
    }
    known = OF_LIBRARIES | vars(builtins).keys()
    for tree in trees.values():
        known |= {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        assigned = (target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
        known |= {target.id for target in assigned if isinstance(target, ast.Name)}
    unknown = []
    for path, tree in trees.items():
        imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom))
        imported = {alias.asname or alias.name for node in imports for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                named = types_in(ast.get_docstring(node) or "") - known - imported
                unknown += [f"{path.relative_to(ROOT)}: {node.name} names {one}" for one in sorted(named)]
    assert unknown == []


def test_every_public_function_answers(check: Any) -> None:
    """Not only the 60 that `make docs-check` draws: all of them, and it says so."""
    shown = subprocess.run(
        [sys.executable, "-P", CHECK, "--all"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    count = len(check.public_functions())
    assert count > 250
    for question in ("shapes", "units", "errors"):
        assert f"{question}: {count}/{count} right" in shown.stdout


@pytest.mark.parametrize(
    ("function", "shapes", "units", "errors"),
    [
        (unclear, ["scores", "return"], ["cost"], ["DataError", "InputError"]),
        (clear, [], [], []),
        (handled, None, None, None),
    ],
)
def test_what_is_missing_is_named(
    check: Any, function: FunctionType, shapes: list[str], units: list[str], errors: list[str]
) -> None:
    """Arrays without axes, quantities without a unit, and errors raised here or in a helper."""
    public = check.PublicFunction(function.__name__, function, None)
    assert check.missing_shapes(public) == shapes
    assert check.missing_units(public) == units
    assert check.missing_errors(public) == errors
