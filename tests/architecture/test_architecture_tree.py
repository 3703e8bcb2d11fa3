"""The tree as a newcomer meets it: no arrow back, no circle, no heap, and no name that means three things."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

from alphaloop.runtime.package_roots import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
MAX_MODULES = 16
MAX_NAMESAKES = 2
# One file a plug-in, a command, a section or a migration: these folders grow with what they hold.
HEAPS = {
    "cli/commands", "features/indicators", "marketdata/sources", "trading/brokers", "trading/strategies",
    "alphaloop/settings", "alphaloop/journal/migrations/versions",
}  # fmt: skip


def modules(root: Path) -> dict[str, Path]:
    """The modules of all packages under `root`, by dotted name."""
    found = {}
    for room in PACKAGES:
        for path in sorted((root / room).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """The modules of ours that each module imports, in functions and for type checkers too."""
    known = modules(root)
    return {
        name: set(_imported(ast.parse(path.read_text(encoding="utf-8")), known)) - {name}
        for name, path in known.items()
    }


def _imported(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_import_points_back() -> None:
    """A module imports modules of its own package and of those below it, and no others."""
    place = {room: index for index, room in enumerate(PACKAGES)}
    back = [
        f"{name} -> {other}"
        for name, others in imports(ROOT).items()
        for other in others
        if place[other.split(".")[0]] > place[name.split(".")[0]]
    ]
    assert back == []


def test_there_is_no_circle_among_modules() -> None:
    """No module imports itself by way of others, not even in a function or for a type checker."""
    assert circle(imports(ROOT)) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    """Two modules that import each other, one of them in a function, are a circle."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").touch()
    (tmp_path / "models" / "one.py").write_text("import models.two\n")
    (tmp_path / "models" / "two.py").write_text("def f():\n    from models import one\n    return one\n")
    assert set(circle(imports(tmp_path))) == {"models.one", "models.two"}


def test_no_folder_is_a_heap() -> None:
    """A folder has at most sixteen modules, besides those of one file a plug-in, command or section."""
    sizes: dict[str, int] = defaultdict(int)
    for path in modules(ROOT).values():
        if path.name != "__init__.py":
            sizes[path.parent.relative_to(ROOT).as_posix()] += 1
    assert {name: size for name, size in sizes.items() if size > MAX_MODULES and name not in HEAPS} == {}


def test_no_file_name_stands_three_times() -> None:
    """A file name is found at one or two places of the tree, families and venues aside."""
    names = Counter(
        path.name
        for path in modules(ROOT).values()
        if path.name != "__init__.py" and path.parent.relative_to(ROOT).as_posix() not in HEAPS
    )
    assert {name for name, count in names.items() if count > MAX_NAMESAKES} == set()


@pytest.mark.parametrize("room", PACKAGES)
def test_no_distribution_installs_a_package_of_that_name(room: str) -> None:
    """No other distribution that is installed here has a top-level package of our names."""
    assert set(packages_distributions().get(room, ())) <= {"alphaloop"}


def test_no_package_has_the_name_of_a_well_known_one() -> None:
    """None of 240 import names of distributions that stand beside such a platform is one of ours."""
    names = set((Path(__file__).parent / "well_known_names.txt").read_text(encoding="utf-8").split())
    assert len(names) >= 200
    assert names.isdisjoint(PACKAGES)


@pytest.mark.parametrize("room", PACKAGES)
def test_type_checkers_read_our_annotations(room: str) -> None:
    """Each package has a `py.typed`, so that a user's type checker believes its annotations."""
    assert (ROOT / room / "py.typed").is_file()


def public_names() -> list[tuple[str, str]]:
    """Each package with each of the names that it offers."""
    return [
        (room, name) for room in PACKAGES for name in getattr(importlib.import_module(room), "__all__", ())
    ]


def test_every_public_name_is_there() -> None:
    """What the stub of a package lists can be had from the package, and has a docstring."""
    assert len(public_names()) > 150
    for room, name in public_names():
        value = getattr(importlib.import_module(room), name)
        assert not isinstance(value, ModuleType), (room, name)
        assert not (callable(value) or isinstance(value, type)) or value.__doc__, (room, name)


def test_public_names_are_loaded_when_they_are_asked_for() -> None:
    """Importing a package imports none of its modules; asking for a name imports the module that has it."""
    program = (
        "import sys, serving, models\n"
        "print([name for name in sys.modules if name.startswith(('serving.', 'models.'))])\n"
        "print(models.Card.__module__, 'mlflow' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert shown.stdout.splitlines() == ["[]", "models.registry.card False"], shown.stderr


# Commands are called like their verbs, components like their steps, and a rule of before decides too.
SHARED_FUNCTIONS = {
    "build_features", "check", "claim_slot", "decide", "drift_report", "evaluate_version",
    "freeze_snapshot", "gate_verdict", "propose", "publish_features", "refuse", "register", "show",
    "train", "train_candidate", "turnover", "update_bars", "watch_drift",
}  # fmt: skip
BOUND = re.compile(r"(MOST|LEAST|LONGEST|SHORTEST|FEWEST|MAXIMUM|MINIMUM)(_|$)")


def definitions() -> Iterator[tuple[str, ast.stmt]]:
    """Each statement at the top of a module, with the module's path; Alembic names those of a migration."""
    for path in modules(ROOT).values():
        if path.parent.name == "versions":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            yield str(path.relative_to(ROOT)), node


def repeated(names: Iterable[str]) -> set[str]:
    """The public ones of `names` that stand twice."""
    return {name for name, count in Counter(names).items() if count > 1 and not name.startswith("_")}


def test_no_public_class_name_stands_twice() -> None:
    """One name, one thing: a class can be found by its name alone."""
    assert repeated(node.name for _, node in definitions() if isinstance(node, ast.ClassDef)) == set()


def test_no_public_function_name_stands_twice() -> None:
    """Commands, pipeline steps and rules aside, a function can be found by its name alone."""
    functions = (node.name for _, node in definitions() if isinstance(node, ast.FunctionDef))
    assert repeated(functions) == SHARED_FUNCTIONS


def test_bounds_are_called_max_and_min() -> None:
    """No constant says MOST, LEAST, LONGEST or FEWEST where it means the maximum or the minimum."""
    names = [
        f"{path}: {target.id}"
        for path, node in definitions()
        for target in (node.targets if isinstance(node, ast.Assign) else ())
        if isinstance(target, ast.Name) and BOUND.match(target.id)
    ]
    assert names == []
