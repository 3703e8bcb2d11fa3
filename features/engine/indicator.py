"""Indicators: operators by name, with parameters. One decorated function defines one.

@indicator(inputs=("high", "low"), outputs=("upper", "lower"), group="channels", reference="Donchian")
def donchian(length: int = 20) -> Operator:
    \"\"\"The highest high and the lowest low of the last bars.\"\"\"
    return Window(_extremes, length, ("upper", "lower"), exact=True)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alphaloop.errors import InputError
from features.engine.graph import Column, Node
from features.engine.operator import SINGLE, Operator

Parameter = int | float | str
Factory = Callable[..., Operator]
_WORDS = {int: "a whole number", float: "a number", str: "text between quotes"}
_KINDS: dict[str, type] = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, eq=False)
class Indicator:
    """A named operator: `factory(**parameters)` over series that default to `inputs`.

    `inputs` are columns of the bars (adjusted open, high, low, close and volume, or one of `extra`), or
    names of the catalogue. `version` is raised when the same definition comes to mean other values.
    """

    name: str
    factory: Factory
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    group: str
    reference: str = ""
    version: int = 1

    @property
    def description(self) -> str:
        """The first sentence of the factory's docstring."""
        text = inspect.getdoc(self.factory) or self.name
        return " ".join(text.split("\n\n")[0].split())

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters with their defaults, in order."""
        return {one.name: one.default for one in inspect.signature(self.factory).parameters.values()}

    def bind(self, named: Mapping[str, Parameter] | None = None) -> dict[str, Parameter]:
        """All parameters, defaults filled in and of the right kind; `InputError` names a wrong one."""
        given = named or {}
        for name in given:
            if name not in self.parameters:
                raise InputError(
                    f"'{self.name}' has no parameter '{name}'; it has: {', '.join(self.parameters) or 'none'}"
                )
        return {
            name: self._of_kind(name, given.get(name, default)) for name, default in self.parameters.items()
        }

    def apply(self, arguments: Sequence[Column], named: Mapping[str, Parameter] | None = None) -> Node:
        """The indicator over `arguments`, one for each of `inputs`; `InputError` for what does not fit."""
        if len(arguments) != len(self.inputs):
            raise InputError(
                f"'{self.name}' takes {len(self.inputs)} series ({', '.join(self.inputs)}); "
                f"{len(arguments)} are given"
            )
        parameters = self.bind(named)
        shown = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
        try:
            operator = self.factory(**parameters)
            lookback = operator.lookback
        except AttributeError as error:
            raise InputError(
                f"'{self.name}' must return an operator, as features.engine.operators.window.Window: {error}"
            ) from error
        except (InputError, ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            raise InputError(f"'{self.name}' cannot take {shown}: {error}") from error
        if lookback < 1:
            # TA-Lib's way of saying that a parameter is out of range.
            raise InputError(f"'{self.name}' cannot take {shown}: a value is out of range")
        definition = {"indicator": self.name, "version": self.version, "parameters": parameters}
        return Node(operator, tuple(arguments), definition)

    def _of_kind(self, name: str, value: Parameter) -> Parameter:
        kind = _kind(self.factory, name, self.parameters[name])
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"parameter '{name}' of '{self.name}' is {value!r}; it must be {_WORDS[kind]}")
        return value


def indicator(
    inputs: tuple[str, ...] = ("close",),
    outputs: tuple[str, ...] = SINGLE,
    group: str = "own",
    reference: str = "",
    name: str = "",
    version: int = 1,
) -> Callable[[Factory], Indicator]:
    """Make an `Indicator` of a function that takes parameters (with defaults) and returns an operator."""

    def made(factory: Factory) -> Indicator:
        called = name or factory.__name__
        for one in inspect.signature(factory).parameters.values():
            if one.default is inspect.Parameter.empty:
                raise InputError(f"parameter '{one.name}' of indicator '{called}' needs a default")
        return Indicator(called, factory, inputs, outputs, group, reference, version)

    return made


def _kind(factory: Factory, name: str, default: Any) -> type:
    annotation = inspect.signature(factory).parameters[name].annotation
    if isinstance(annotation, str):
        return _KINDS.get(annotation, type(default))
    return annotation if isinstance(annotation, type) and annotation in _KINDS.values() else type(default)
