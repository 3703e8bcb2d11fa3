"""Check of the docstrings of public functions: shapes of arrays, units of quantities, and errors.

    python tests/docs_check.py [--count 60] [--seed 1] [--all]

Draws functions and methods from the public names of all packages (the `__all__` of each) and prints, for each
of three questions, how many answer it of those that it concerns:

- shapes: a parameter or result that is an array or a table says its axes or its columns;
- units: a parameter or result that is a float, a Decimal or a timedelta says what it is measured in;
- errors: each exception that the function raises itself, or by a private function of its module, is named.

Exits 1 where an answer is missing, and names each.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import random
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

PACKAGES = (
    "alphaloop", "marketdata", "features", "models", "serving", "trading", "rollouts", "monitoring",
    "pipelines", "loop", "cli",
)  # fmt: skip
ARRAY = re.compile(
    r"NDArray|ndarray|ArrayLike|Timestamps|Table\b|DataFrame|RecordBatch|Matrix\b|Vector\b|Weights\b|Array\b"
)
SHAPE = re.compile(
    r"\[(?=[^\]]*[A-Za-z])[\w.][\w ,.+*'-]*\]|\b(shape|columns?|rows?|one per|scalar)\b|_SCHEMA\b",
    re.IGNORECASE,
)
QUANTITY = re.compile(r"\b(float|Decimal|timedelta)\b")
UNIT = re.compile(
    r"%|\b(fractions?|shares?|returns?|seconds?|milliseconds?|ms|minutes?|hours?|days?|bars?|years?|bytes|"
    r"MiB|basis points?|bps|currency|money|prices?|probabilit(y|ies)|units?|quantit(y|ies)|counts?|number|"
    r"weights?|scores?|correlations?|ratios?|odds|e-values?|p-values?|standard deviations?|multiples?|"
    r"rates?|levels?|logarithms?|equity|notional|UTC|time span|t-statistics?|per)\b",
    re.IGNORECASE,
)
UNIT_IN_NAME = re.compile(
    r"_(ms|seconds|s|bytes|bps|days|bars|minutes|hours|share|fraction|return|price|weight)$"
)
# Exceptions of the language's own protocols, which callers do not handle one by one.
UNTOLD = frozenset(
    {"NotImplementedError", "AssertionError", "StopIteration", "SystemExit", "KeyboardInterrupt"}
)


@dataclass(frozen=True)
class PublicFunction:
    """One function or method that users may rely on."""

    name: str
    function: FunctionType
    owner: type | None

    @property
    def text(self) -> str:
        """Its docstring, and that of its class where it is a method."""
        own = inspect.cleandoc(self.function.__doc__ or "")
        return own if self.owner is None else f"{own}\n{inspect.cleandoc(self.owner.__doc__ or '')}"


def public_functions() -> list[PublicFunction]:
    """List the functions and the methods of classes that packages export, sorted by name."""
    found = {}
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            for one in _functions_of(f"{package}.{name}", getattr(module, name)):
                found[one.name] = one
    return [found[name] for name in sorted(found)]


def _functions_of(name: str, value: Any) -> Iterator[PublicFunction]:
    if inspect.isfunction(value):
        yield PublicFunction(name, value, None)
    elif inspect.isclass(value) and value.__module__.partition(".")[0] in PACKAGES:
        for attribute, member in vars(value).items():
            function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
            if not attribute.startswith("_") and inspect.isfunction(function):
                yield PublicFunction(f"{name}.{attribute}", function, value)


def missing_shapes(public: PublicFunction) -> list[str] | None:
    """Name the arrays without axes; None where the function has no array."""
    return _unsaid(public, ARRAY, lambda name, entry: bool(SHAPE.search(entry)))


def missing_units(public: PublicFunction) -> list[str] | None:
    """Name the quantities without a unit; None where the function has none."""
    return _unsaid(
        public, QUANTITY, lambda name, entry: bool(UNIT.search(entry) or UNIT_IN_NAME.search(name))
    )


def _unsaid(
    public: PublicFunction, kind: re.Pattern[str], says: Callable[[str, str], bool]
) -> list[str] | None:
    annotations = {
        name: str(annotation)
        for name, annotation in public.function.__annotations__.items()
        if kind.search(str(annotation)) and "Callable" not in str(annotation)
    }
    if not annotations:
        return None
    entries = _entries(public.text)
    return [name for name in annotations if not says(name, entries.get(name, public.text))]


def _entries(text: str) -> dict[str, str]:
    """Split the numpydoc sections of a docstring into the text of each parameter and of the result."""
    entries: dict[str, str] = {}
    for title, body in re.findall(
        r"^(Parameters|Returns)\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.M | re.S
    ):
        if title == "Returns":
            entries["return"] = body
            continue
        for names, rest in re.findall(r"^(\S[^:\n]*)(.*?)(?=^\S|\Z)", body, re.M | re.S):
            for name in names.split(","):
                entries[name.strip().lstrip("*")] = rest
    return entries


def missing_errors(public: PublicFunction) -> list[str] | None:
    """Name the exceptions that are raised and not named; None where the function raises none."""
    raised = raised_by(public.function)
    return [name for name in sorted(raised) if name not in public.text] if raised else None


def raised_by(function: FunctionType) -> set[str]:
    """Names of the exceptions that `function` raises itself or by private functions of its module."""
    own = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    private = _private_functions(sys.modules[function.__module__])
    return _raised(own, private, frozenset()) - UNTOLD


@cache
def _private_functions(module: ModuleType) -> dict[str, ast.AST]:
    tree = ast.parse(inspect.getsource(module))
    return {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("_") and node.name != "__init__"
    }


def _raised(node: ast.AST, private: dict[str, ast.AST], seen: frozenset[str]) -> set[str]:
    names: set[str] = set()
    for inner in ast.iter_child_nodes(node):
        names |= _raised(inner, private, seen)
        if isinstance(inner, ast.Try):
            # An exception that the function itself handles never reaches the caller.
            names -= {
                caught.id
                for handler in inner.handlers
                for caught in ast.walk(handler.type or ast.Tuple(elts=[], ctx=ast.Load()))
                if isinstance(caught, ast.Name)
            } - set().union(*(_raised(handler, private, seen) for handler in inner.handlers))
        if isinstance(inner, ast.Raise) and inner.exc is not None:
            error = inner.exc.func if isinstance(inner.exc, ast.Call) else inner.exc
            name = error.attr if isinstance(error, ast.Attribute) else getattr(error, "id", "")
            if name.endswith("Error"):
                names.add(name)
        if isinstance(inner, ast.Call):
            called = (
                inner.func.attr if isinstance(inner.func, ast.Attribute) else getattr(inner.func, "id", "")
            )
            if called in private and called not in seen:
                names |= _raised(private[called], private, seen | {called})
    return names


QUESTIONS = {"shapes": missing_shapes, "units": missing_units, "errors": missing_errors}


def main() -> int:
    """Print the three counts over the functions drawn; return the exit code."""
    parser = argparse.ArgumentParser(description="docstrings of public functions: shapes, units, errors")
    parser.add_argument("--count", type=int, default=60, help="functions to draw")
    parser.add_argument("--seed", type=int, default=1, help="seed of the draw")
    parser.add_argument("--all", action="store_true", help="take all functions")
    chosen = parser.parse_args()
    known = public_functions()
    drawn = known if chosen.all else random.Random(chosen.seed).sample(known, min(chosen.count, len(known)))
    print(f"{len(drawn)} of {len(known)} public functions and methods, seed {chosen.seed}")
    wrong = 0
    for title, question in QUESTIONS.items():
        answers = {public.name: question(public) for public in drawn}
        missing = {name: answer for name, answer in answers.items() if answer}
        concerned = sum(answer is not None for answer in answers.values())
        fine = len(drawn) - len(missing)
        print(f"{title}: {fine}/{len(drawn)} right ({concerned} have any)")
        for name, answer in missing.items():
            print(f"  {name}: {', '.join(answer)}")
        wrong += len(missing)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
