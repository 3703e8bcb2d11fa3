"""Indicators: named operators with parameters, each defined by one decorated function.

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
from features.engine.operator import SINGLE_OUTPUT, Operator

Parameter = int | float | str
Factory = Callable[..., Operator]
_WORDS = {int: "a whole number", float: "a number", str: "text between quotes"}
_KINDS: dict[str, type] = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, eq=False)
class Indicator:
    """A named operator: `factory(**parameters)` over input series.

    Parameters
    ----------
    name : str
        Name in formulas.
    factory : callable
        Takes the parameters, all with defaults, and returns an `Operator`.
    inputs : tuple of str
        Default inputs: columns of the bars (adjusted open, high, low, close and volume, or one of `extra`),
        or names of the catalogue.
    outputs : tuple of str
        Names of the outputs; a single output is called `value`.
    group : str
        Group in the catalogue.
    reference : str, default ""
        Paper or author of the formula.
    version : int, default 1
        Raised when an unchanged definition starts to give other values; part of a feature set's hash.
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
        """First paragraph of the factory's docstring, on one line."""
        text = inspect.getdoc(self.factory) or self.name
        return " ".join(text.split("\n\n")[0].split())

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """Parameters with their defaults, in order."""
        return {one.name: one.default for one in inspect.signature(self.factory).parameters.values()}

    def bind(self, named: Mapping[str, Parameter] | None = None) -> dict[str, Parameter]:
        """Return all parameters, with defaults filled in.

        Raises `InputError` for an unknown parameter and for a value of the wrong kind.
        """
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
        """Build the node of the indicator over `arguments`, one for each of `inputs`.

        Raises `InputError` for a wrong number of arguments, a wrong parameter, and a factory that returns no
        operator.
        """
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
            # TA-Lib reports a parameter out of range this way.
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
    outputs: tuple[str, ...] = SINGLE_OUTPUT,
    group: str = "own",
    reference: str = "",
    name: str = "",
    version: int = 1,
) -> Callable[[Factory], Indicator]:
    """Decorate a function as an indicator.

    The function takes parameters, all with defaults, and returns an operator. The first paragraph of its
    docstring is the indicator's description.

    Parameters
    ----------
    inputs : tuple of str, default ("close",)
        Default inputs: columns of the bars, or names of other indicators.
    outputs : tuple of str, default ("value",)
        Names of the outputs.
    group : str, default "own"
        Group in the catalogue.
    reference : str, default ""
        Paper or author of the formula.
    name : str, default ""
        Name in formulas; the function's if empty.
    version : int, default 1
        To be raised when an unchanged definition starts to give other values.

    Returns
    -------
    callable
        Decorator that turns the function into an `Indicator`.

    Raises
    ------
    InputError
        If a parameter of the function has no default.

    Examples
    --------
    >>> from features.engine.indicator import indicator
    >>> from features.engine.operators.window import Window
    >>> @indicator(outputs=("range",), reference="an example")
    ... def close_range(length: int = 20) -> Window:
    ...     "Highest less lowest close of the last bars."
    ...     return Window(lambda close: close.max(-1) - close.min(-1), length, ("range",), exact=True)
    >>> close_range.name, close_range.inputs, dict(close_range.parameters)
    ('close_range', ('close',), {'length': 20})
    """

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
