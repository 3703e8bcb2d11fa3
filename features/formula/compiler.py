"""Compiler: from the syntax tree of a formula to a column of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from alphaloop.bars import PRICE_COLUMNS
from alphaloop.errors import UnknownNameError
from features.engine.graph import Column, Input, Node
from features.engine.indicator import Indicator
from features.formula.calls import CallArguments, function_call, indicator_call
from features.formula.formula_error import FormulaError
from features.formula.functions import ARGUMENT_NAMES, SIGN_FUNCTIONS, BuiltinFunction, power, signature
from features.formula.nodes import CompiledExpression, SourceText, kind_of, pointwise, resampled
from features.formula.printer import canonical_text
from features.formula.syntax import (
    Binary,
    Call,
    Coarser,
    Expression,
    Extra,
    Formula,
    Name,
    Number,
    Output,
    Power,
    Text,
    Unary,
    walk,
)

COLUMNS = (*PRICE_COLUMNS, "volume")
MAX_FORMULA_CHAIN = 64
MAX_GRAPH_DEPTH = 256
NameResolver: TypeAlias = Callable[[str], Indicator | Formula]
"""Resolves a name of a formula; raises `UnknownNameError` for an unknown one."""


def require_unreserved_name(formula: Formula) -> None:
    """Raise `FormulaError` if a formula has the name of a column or built-in function, which hides it."""
    if formula.name in (*COLUMNS, *ARGUMENT_NAMES):
        raise FormulaError(f"'{formula.name}' is a word of the language; take another name", formula.text, 0)


@dataclass(frozen=True)
class CompiledFormula:
    """A compiled formula: its column of the graph, and its tree with all defaults filled in."""

    column: Column
    expression: Expression

    @property
    def text(self) -> str:
        """The formula in canonical form."""
        return canonical_text(self.expression)


class Compiler:
    """Compiler of formulas over the names that `resolve` knows; compiles each named formula once."""

    def __init__(self, resolve: NameResolver) -> None:
        self._resolve = resolve
        self._formulas: dict[str, CompiledFormula] = {}
        self._depths: dict[str, int] = {}
        self._defaults: dict[str, tuple[CompiledExpression, ...]] = {}

    def compile(self, formula: Formula) -> CompiledFormula:
        """Compile `formula` and the formulas it names.

        Raises `FormulaError` that points at the fault, in this formula or in one that it names.
        """
        require_unreserved_name(formula)
        path: list[tuple[str, Formula, Iterator[Name | Call]]] = [
            (formula.name or "", formula, _referenced_names(formula.expression))
        ]
        while True:
            name, here, waiting = path[-1]
            below = self._next(here, waiting, [one[0] for one in path])
            if below is not None:
                path.append(below)
                continue
            path.pop()
            compiled = ExpressionCompiler(self, here).compile()
            if self._depth(compiled.column) > MAX_GRAPH_DEPTH:
                raise FormulaError(
                    f"with the formulas that it names it is deeper than {MAX_GRAPH_DEPTH} levels",
                    here.text,
                    0,
                )
            if not path:
                return compiled
            self._formulas[name] = compiled

    def _next(
        self, here: Formula, waiting: Iterator[Name | Call], path: list[str]
    ) -> tuple[str, Formula, Iterator[Name | Call]] | None:
        """Return the next named formula that must be compiled before `here`."""
        for named in waiting:
            if named.name in path and (path[0] != named.name or not self.is_indicator(named.name)):
                circle = " -> ".join([*path[path.index(named.name) :], named.name])
                raise SourceText(here.text).error(f"a formula cannot be made of itself: {circle}", named)
            if named.name in self._formulas:
                continue
            resolved = self.find(named.name, SourceText(here.text), named)
            if isinstance(resolved, Formula):
                if len(path) >= MAX_FORMULA_CHAIN:
                    raise SourceText(here.text).error(
                        f"more than {MAX_FORMULA_CHAIN} formulas name one another", named
                    )
                return named.name, resolved, _referenced_names(resolved.expression)
        return None

    def is_indicator(self, name: str) -> bool:
        """Return whether the name is an indicator's, and not a formula's or unknown."""
        try:
            return isinstance(self._resolve(name), Indicator)
        except UnknownNameError:
            return False

    def find(self, name: str, source: SourceText, at: Expression) -> Indicator | Formula:
        """Resolve a name. Raises `FormulaError` with similar names if it is unknown."""
        try:
            return self._resolve(name)
        except UnknownNameError as error:
            known = (*error.known, *COLUMNS, *ARGUMENT_NAMES)
            near = get_close_matches(name[:64].lower(), known, 3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise source.error(f"unknown name '{name[:64]}'{hint}", at) from error

    def _depth(self, column: Column) -> int:
        # Named formulas were measured before, so the recursion covers one formula only.
        if isinstance(column, Input):
            return 1
        if column.node.key not in self._depths:
            below = max((self._depth(one) for one in column.node.arguments), default=0)
            self._depths[column.node.key] = 1 + below
        return self._depths[column.node.key]

    def compiled(self, name: str) -> CompiledFormula | None:
        """Return a named formula that is compiled already; those that a formula names always are."""
        return self._formulas.get(name)

    def defaults(self, indicator: Indicator) -> tuple[CompiledExpression, ...]:
        """Return an indicator's default inputs: columns of the bars, or indicators of that name."""
        if indicator.name not in self._defaults:
            self._defaults[indicator.name] = tuple(self._default(name) for name in indicator.inputs)
        return self._defaults[indicator.name]

    def _default(self, name: str) -> CompiledExpression:
        if name in COLUMNS:
            return CompiledExpression(Input(name), Name(name))
        try:
            resolved = self._resolve(name)
        except UnknownNameError:
            return CompiledExpression(Input(name), Extra(name))
        if isinstance(resolved, Formula):
            return CompiledExpression(Input(name), Extra(name))
        node, settled = indicator_call(
            resolved, CallArguments(Call(name), (), {}), self.defaults(resolved), SourceText(name)
        )
        return CompiledExpression(node.output(), settled)


class ExpressionCompiler:
    """Compiles one formula, from the leaves of its tree upwards."""

    def __init__(self, language: Compiler, formula: Formula) -> None:
        self._language, self._formula = language, formula
        self._source = SourceText(formula.text)

    def compile(self) -> CompiledFormula:
        """Compile the whole formula. Raises `FormulaError` unless it is a series."""
        meant = self._read(self._formula.expression)
        if isinstance(meant.value, float | str):
            raise self._source.error(
                f"this is {kind_of(meant.value)} and not a feature: it does not depend on the bars",
                self._formula.expression,
            )
        return CompiledFormula(meant.value, meant.expression)

    def _read(self, at: Expression) -> CompiledExpression:
        match at:
            case Number(value):
                return CompiledExpression(value, at)
            case Text(value):
                return CompiledExpression(value, at)
            case Name():
                return self._name(at)
            case Extra(name):
                if name in COLUMNS:
                    raise self._source.error(f"'{name}' is a column of every bar; write {name}", at)
                return CompiledExpression(Input(name), at)
            case Call():
                return self._call(at)
            case Output():
                return self._output(at)
            case Coarser():
                return self._coarser(at)
            case _:
                return self._sign(at)

    def _name(self, at: Name) -> CompiledExpression:
        if at.name in COLUMNS:
            return CompiledExpression(Input(at.name), at)
        known = self._language.compiled(at.name)
        if known is not None:
            return CompiledExpression(known.column, at)
        return self._only_output(at, *self._indicator(at))

    def _call(self, at: Call) -> CompiledExpression:
        if at.name in ARGUMENT_NAMES:
            return function_call(self._given(at), self._source)
        return self._only_output(at, *self._indicator(at))

    def _given(self, at: Name | Call) -> CallArguments:
        if isinstance(at, Name):
            return CallArguments(Call(at.name, span=at.span), (), {})
        keywords = {keyword: self._read(value) for keyword, value in at.keywords}
        return CallArguments(at, tuple(self._read(one) for one in at.arguments), keywords)

    def _indicator(self, at: Name | Call) -> tuple[Node, Name | Call]:
        """Return the indicator's node. Raises `FormulaError` if the name is anything else."""
        if at.name in COLUMNS:
            raise self._source.error(f"'{at.name}' is a column of the bars and takes no arguments", at)
        if self._language.compiled(at.name) is not None:
            raise self._source.error(
                f"'{at.name}' is a formula: it takes no arguments and has no outputs", at
            )
        if at.name in ARGUMENT_NAMES and not self._language.is_indicator(at.name):
            raise self._source.error(f"'{at.name}' is a function; it is written {signature(at.name)}", at)
        resolved = self._language.find(at.name, self._source, at)
        if isinstance(resolved, Formula):
            raise self._source.error(f"a formula cannot be made of itself: {at.name}", at)
        return indicator_call(resolved, self._given(at), self._language.defaults(resolved), self._source)

    def _only_output(self, at: Name | Call, node: Node, settled: Name | Call) -> CompiledExpression:
        outputs = node.operator.outputs
        if len(outputs) > 1:
            choices = ", ".join(f".{name}" for name in outputs)
            raise self._source.error(f"'{at.name}' has several outputs; add one of {choices}", at)
        return CompiledExpression(node.output(), settled)

    def _output(self, at: Output) -> CompiledExpression:
        if (isinstance(at.of, Call) and at.of.name in ARGUMENT_NAMES) or at.of.name in COLUMNS:
            raise self._source.error(f"'{at.of.name}' has no outputs", at)
        node, settled = self._indicator(at.of)
        outputs = node.operator.outputs
        if at.output not in outputs:
            near = get_close_matches(at.output[:64], outputs, 1)
            hint = f"; did you mean .{near[0]}?" if near else f"; it has: {', '.join(outputs)}"
            raise self._source.error(f"'{at.of.name}' has no output '{at.output[:64]}'{hint}", at)
        expression = Output(settled, at.output, at.span) if len(outputs) > 1 else settled
        return CompiledExpression(node.output(at.output), expression)

    def _sign(self, at: Unary | Binary | Power) -> CompiledExpression:
        match at:
            case Unary(operator, operand):
                inside = self._read(operand)
                sign = "negative" if operator == "-" else operator
                value = pointwise(sign, SIGN_FUNCTIONS[sign], (inside,), self._source, at)
                return CompiledExpression(value, Unary(operator, inside.expression, at.span))
            case Power(base, exponent):
                inside = self._read(base)
                raised = BuiltinFunction(power(exponent))
                value = pointwise(f"power {exponent}", raised, (inside,), self._source, at)
                return CompiledExpression(value, Power(inside.expression, exponent, at.span))
            case Binary():
                return self._binary(at)

    def _binary(self, at: Binary) -> CompiledExpression:
        left, right = self._read(at.left), self._read(at.right)
        if at.operator == "/" and right.value == 0.0 and isinstance(right.value, float):
            raise self._source.error("division by zero", at)
        value = pointwise(at.operator, SIGN_FUNCTIONS[at.operator], (left, right), self._source, at)
        return CompiledExpression(value, Binary(at.operator, left.expression, right.expression, at.span))

    def _coarser(self, at: Coarser) -> CompiledExpression:
        inside = self._read(at.of)
        series = self._source.series(inside)
        if any(isinstance(one, Coarser) for one in walk(at.of)):
            raise self._source.error("this is on coarser bars already; @ is written once", at)
        value = resampled(series, at.count, at.unit)
        return CompiledExpression(value, Coarser(inside.expression, at.count, at.unit, at.span))


def compile_formula(formula: Formula, resolve: NameResolver) -> CompiledFormula:
    """Compile one formula; see `Compiler.compile`."""
    return Compiler(resolve).compile(formula)


def _referenced_names(expression: Expression) -> Iterator[Name | Call]:
    """Yield names and calls that are neither columns nor built-in functions."""
    for one in walk(expression):
        if isinstance(one, Name | Call) and one.name not in COLUMNS and one.name not in ARGUMENT_NAMES:
            yield one
