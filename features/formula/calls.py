"""Calls: bind and check the arguments of functions and indicators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from alphaloop.errors import InputError
from features.engine.arithmetic.parameters import MAX_WINDOW_BARS
from features.engine.graph import Node
from features.engine.indicator import Indicator, Parameter
from features.formula.formula_error import FormulaError
from features.formula.functions import (
    ARGUMENT_NAMES,
    OPTIONAL_ARGUMENTS,
    POINTWISE_FUNCTIONS,
    SIGN_FUNCTIONS,
    UNIVERSE_FUNCTIONS,
    signature,
)
from features.formula.nodes import (
    CompiledExpression,
    SourceText,
    Value,
    across_universe,
    build_node,
    is_series,
    lagged,
    pointwise,
    select_where,
)
from features.formula.syntax import Call, Expression, Name, Number, Text, Unary


@dataclass(frozen=True)
class CallArguments:
    """Compiled arguments of a call, by position and by keyword."""

    call: Call
    arguments: tuple[CompiledExpression, ...]
    keywords: Mapping[str, CompiledExpression]


def function_call(given: CallArguments, source: SourceText) -> CompiledExpression:
    """Compile a call of a built-in function."""
    name = given.call.name
    arguments, by = _bind_arguments(given, source)
    expressions = tuple(one.expression for one in arguments)
    keywords = (("by", by.expression),) if by is not None else ()
    value = _value(given.call, arguments, by, source)
    return CompiledExpression(value, Call(name, expressions, keywords, given.call.span))


def _value(
    call: Call, arguments: tuple[CompiledExpression, ...], by: CompiledExpression | None, source: SourceText
) -> Value:
    name = call.name
    if name in POINTWISE_FUNCTIONS:
        if name == "clip":
            _in_order(arguments, source)
        return pointwise(name, POINTWISE_FUNCTIONS[name], arguments, source, call)
    if name == "where":
        return select_where((arguments[0], arguments[1], arguments[2]), source)
    if name in UNIVERSE_FUNCTIONS:
        return across_universe(name, arguments[0], by, source)
    bars = _bars(name, arguments[1], source)
    before = lagged(arguments[0], bars, source)
    if name == "lag":
        return before
    now = arguments[0]
    return pointwise(
        "-", SIGN_FUNCTIONS["-"], (now, CompiledExpression(before, now.expression)), source, call
    )


def _bars(name: str, given: CompiledExpression, source: SourceText) -> int:
    if isinstance(given.value, float) and given.value < 0:
        raise source.error(f"{name} by {given.value:g} bars would look into the future", given.expression)
    return source.whole_number(given, f"the bars of {name}", 0 if name == "lag" else 1, MAX_WINDOW_BARS)


def _in_order(arguments: tuple[CompiledExpression, ...], source: SourceText) -> None:
    low, high = arguments[1].value, arguments[2].value
    if isinstance(low, float) and isinstance(high, float) and low > high:
        raise source.error(f"clip needs low <= high, not {low:g} and {high:g}", arguments[1].expression)


def _bind_arguments(
    given: CallArguments, source: SourceText
) -> tuple[tuple[CompiledExpression, ...], CompiledExpression | None]:
    """Return the arguments in the function's order, and `by`."""
    call = given.call
    names = ARGUMENT_NAMES[call.name]
    open_ended = names[-1] == "…"
    if len(given.arguments) > len(names) and not open_ended:
        raise _count(call, given, source)
    if open_ended:
        if len(given.arguments) < 2 or given.keywords:
            raise _count(call, given, source)
        return given.arguments, None
    by_name = dict(zip(names, given.arguments, strict=False))
    for keyword, value in given.keywords.items():
        if keyword not in names:
            raise source.error(f"{signature(call.name)} has no argument '{keyword}'", value.expression)
        if keyword in by_name:
            raise source.error(f"'{keyword}' of {signature(call.name)} is given twice", value.expression)
        by_name[keyword] = value
    needed = [name for name in names if name not in OPTIONAL_ARGUMENTS]
    if any(name not in by_name for name in needed):
        raise _count(call, given, source)
    return tuple(by_name[name] for name in needed), by_name.get("by")


def _count(call: Call, given: CallArguments, source: SourceText) -> FormulaError:
    count = len(given.arguments) + len(given.keywords)
    return source.error(f"{signature(call.name)} cannot take {_plural(count, 'argument')}", call)


def indicator_call(
    indicator: Indicator, given: CallArguments, defaults: tuple[CompiledExpression, ...], source: SourceText
) -> tuple[Node, Name | Call]:
    """Return the indicator's node, and the call with all defaults filled in.

    Leading series, and keywords named as inputs, replace `defaults`; all else is a parameter.
    """
    series = _series(indicator, given, defaults, source)
    columns = [source.series(one) for one in series]
    parameters = _parameters(indicator, given, source)
    try:
        node = indicator.apply(columns, parameters)
    except InputError as error:
        raise source.error(str(error), given.call) from error
    expressions = [one.expression for one in series]
    if expressions == [one.expression for one in defaults]:
        expressions = []
    constants = [_constant(value) for value in indicator.bind(parameters).values()]
    settled: Name | Call = Name(indicator.name, given.call.span)
    if expressions or constants:
        settled = Call(indicator.name, (*expressions, *constants), (), given.call.span)
    return build_node(node.operator, node.arguments, node.definition), settled


def _series(
    indicator: Indicator, given: CallArguments, defaults: tuple[CompiledExpression, ...], source: SourceText
) -> tuple[CompiledExpression, ...]:
    """Return the indicator's input series in order."""
    leading, names = _leading(given), indicator.inputs
    if leading and len(leading) != len(names):
        raise source.error(
            f"'{indicator.name}' takes {len(names)} series ({', '.join(names)}), or none for these; "
            f"{_given(len(leading))}",
            given.call,
        )
    by_name = dict(zip(names, leading, strict=False))
    for keyword, one in given.keywords.items():
        if keyword in names and keyword not in indicator.parameters:
            if keyword in by_name:
                raise source.error(f"'{keyword}' of '{indicator.name}' is given twice", one.expression)
            by_name[keyword] = one
    return tuple(by_name.get(name, default) for name, default in zip(names, defaults, strict=True))


def _leading(given: CallArguments) -> tuple[CompiledExpression, ...]:
    count = 0
    while count < len(given.arguments) and is_series(given.arguments[count].value):
        count += 1
    return given.arguments[:count]


def _parameters(indicator: Indicator, given: CallArguments, source: SourceText) -> dict[str, Parameter]:
    names = list(indicator.parameters)
    positional = given.arguments[len(_leading(given)) :]
    for one in positional:
        if is_series(one.value):
            raise source.error(f"the series of '{indicator.name}' come before its parameters", one.expression)
    if len(positional) > len(names):
        raise source.error(
            f"'{indicator.name}' takes {_plural(len(names), 'parameter')} ({', '.join(names) or 'none'}); "
            f"{_given(len(positional))}",
            positional[len(names)].expression,
        )
    parameters: dict[str, Parameter] = {}
    for name, one in zip(names, positional, strict=False):
        parameters[name] = _parameter(indicator, name, one, source)
    for name, one in given.keywords.items():
        if name in indicator.inputs and name not in indicator.parameters:
            continue
        if name not in indicator.parameters:
            raise source.error(_unknown_parameter(indicator, name), one.expression)
        if name in parameters:
            raise source.error(f"'{name}' of '{indicator.name}' is given twice", one.expression)
        parameters[name] = _parameter(indicator, name, one, source)
    return parameters


def _parameter(indicator: Indicator, name: str, given: CompiledExpression, source: SourceText) -> Parameter:
    if not isinstance(given.value, float | str):
        raise source.error(
            f"parameter '{name}' of '{indicator.name}' is a series; it must be "
            f"{'a string' if isinstance(indicator.parameters[name], str) else 'a number'}",
            given.expression,
        )
    value: Parameter = given.value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return indicator.bind({name: value})[name]
    except InputError as error:
        raise source.error(str(error), given.expression) from error


def _unknown_parameter(indicator: Indicator, name: str) -> str:
    known = (*indicator.parameters, *indicator.inputs)
    near = get_close_matches(name[:64], known, 2)
    hint = f"; did you mean {' or '.join(near)}?" if near else f"; it has: {', '.join(known) or 'none'}"
    return f"'{indicator.name}' has no parameter '{name[:64]}'{hint}"


def _constant(value: Parameter) -> Expression:
    if isinstance(value, str):
        return Text(value)
    number = Number(abs(float(value)))
    return Unary("-", number) if value < 0 else number


def _plural(count: int, thing: str) -> str:
    return f"{count} {thing}{'' if count == 1 else 's'}"


def _given(count: int) -> str:
    return f"{count} {'is' if count == 1 else 'are'} given"
