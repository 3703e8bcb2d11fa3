"""The graph of operators behind a feature set; shared subexpressions are computed once.

A column is an input (a column of the bars) or one output of a node; a node is an operator over columns.
Nodes are equal if their definitions and arguments are, wherever they were built.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from alphaloop.errors import InputError
from features.engine.operator import Axes, FiniteMask, Handle, Matrix, Operator, Vector


@dataclass(frozen=True, slots=True)
class Input:
    """A column of the bars: adjusted open, high, low, close or volume, or one of `extra`."""

    name: str

    @property
    def lookback(self) -> int:
        """One bar."""
        return 1

    @property
    def exact(self) -> bool:
        """Always true: inputs are the same in batch and stream."""
        return True

    @property
    def key(self) -> str:
        """Identity of the column within a graph."""
        return f"input:{self.name}"


@dataclass(frozen=True, eq=False)
class Node:
    """`operator` over `arguments`; `definition` (JSON) identifies the operator and its parameters."""

    operator: Operator
    arguments: tuple[Column, ...]
    definition: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """SHA-256 over the definition and the keys of the arguments."""
        content = [dict(self.definition), [argument.key for argument in self.arguments]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @cached_property
    def lookback(self) -> int:
        """Bars of the market until there is a first value, that bar included."""
        return self.operator.lookback + max((one.lookback for one in self.arguments), default=1) - 1

    @cached_property
    def exact(self) -> bool:
        """True if batch and stream agree to the last bit."""
        return self.operator.exact and all(one.exact for one in self.arguments)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Columns of the bars that the node needs, sorted."""
        return tuple(sorted({name for one in self.arguments for name in inputs_of(one)}))

    def output(self, name: str = "") -> NodeOutput:
        """Return one output; a single output needs no name.

        Raises `InputError`, which lists the outputs, for an unknown or missing name.
        """
        names = self.operator.outputs
        if not name and len(names) == 1:
            return NodeOutput(self, 0)
        if name not in names:
            given = f"has no output '{name}'" if name else "has several outputs"
            raise InputError(
                f"'{self.definition.get('indicator', 'this')}' {given}; choose: {', '.join(names)}"
            )
        return NodeOutput(self, names.index(name))


@dataclass(frozen=True, slots=True)
class NodeOutput:
    """One output of a node."""

    node: Node
    index: int

    @property
    def lookback(self) -> int:
        """See `Node.lookback`."""
        return self.node.lookback

    @property
    def exact(self) -> bool:
        """See `Node.exact`."""
        return self.node.exact

    @property
    def key(self) -> str:
        """Identity of the column within a graph."""
        return f"{self.node.key}:{self.index}"


Column = Input | NodeOutput


def inputs_of(column: Column) -> tuple[str, ...]:
    """Return the columns of the bars that `column` needs, sorted."""
    return (column.name,) if isinstance(column, Input) else column.node.inputs


class Graph:
    """The nodes behind `columns`, each once, in an order in which they can be computed."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._slots: dict[str, int] = {}
        self.inputs: tuple[str, ...] = tuple(
            sorted({name for column in columns for name in inputs_of(column)})
        )
        for name in self.inputs:
            self._slots[Input(name).key] = len(self._slots)
        self.nodes: list[Node] = []
        self._arguments: list[tuple[int, ...]] = []
        self._first: list[int] = []
        self._width = len(self._slots)
        self._known: dict[str, int] = {}
        for column in columns:
            self._add(column)
        self._column_slots = tuple(self._slot(column) for column in columns)
        self._columns_by_slot: dict[int, list[int]] = {}
        for index, slot in enumerate(self._column_slots):
            self._columns_by_slot.setdefault(slot, []).append(index)
        self._released = self._slots_to_release()

    @property
    def cross(self) -> bool:
        """True if any node reads other symbols."""
        return any(node.operator.cross for node in self.nodes)

    def batch(
        self, inputs: Mapping[str, Matrix], axes: Axes, outside: FiniteMask | None = None
    ) -> Iterable[tuple[int, Matrix]]:
        """Yield pairs of a column's index and its matrix `[T, N]`, as they are computed.

        A matrix is released as soon as nothing needs it any more. Operators that read other symbols do not
        see the bars at which `outside` `[T, N]` is True.
        """
        values: list[Matrix | None] = [None] * self._width
        for name in self.inputs:
            values[self._slots[Input(name).key]] = inputs[name]
        yield from self._finished(values, -1)
        for node_index, node in enumerate(self.nodes):
            arguments = self._given(values, node_index, outside)
            results = node.operator.batch(arguments, axes)
            values[self._first[node_index] : self._first[node_index] + len(results)] = results
            yield from self._finished(values, node_index)

    def stream(
        self, inputs: Mapping[str, Matrix], axes: Axes, outside: FiniteMask | None = None
    ) -> GraphStream:
        """Return a stream of the graph whose state covers these bars; for `outside` see `batch`."""
        values: list[Matrix | None] = [None] * self._width
        for name in self.inputs:
            values[self._slots[Input(name).key]] = inputs[name]
        handles = []
        for node_index, node in enumerate(self.nodes):
            arguments = self._given(values, node_index, outside)
            handles.append(node.operator.stream(arguments, axes))
            if self._fed(node_index):
                results = node.operator.batch(arguments, axes)
                values[self._first[node_index] : self._first[node_index] + len(results)] = results
            for slot in self._released[node_index + 1]:
                values[slot] = None
        return GraphStream(self, handles)

    def _given(
        self, values: Sequence[Matrix | None], node_index: int, outside: FiniteMask | None
    ) -> tuple[Matrix, ...]:
        """Return the arguments of a node, as far as it may see them."""
        arguments = tuple(_require_values(values[slot]) for slot in self._arguments[node_index])
        return _visible(arguments, outside) if self.nodes[node_index].operator.cross else arguments

    def _add(self, column: Column) -> None:
        if isinstance(column, Input) or column.node.key in self._known:
            return
        node = column.node
        for argument in node.arguments:
            self._add(argument)
        self._known[node.key] = self._width
        self._arguments.append(tuple(self._slot(argument) for argument in node.arguments))
        self._first.append(self._width)
        self.nodes.append(node)
        self._width += len(node.operator.outputs)

    def _slot(self, column: Column) -> int:
        if isinstance(column, Input):
            return self._slots[column.key]
        return self._known[column.node.key] + column.index

    def _fed(self, node_index: int) -> bool:
        """Return whether another node needs an output of node `node_index`."""
        first = self._first[node_index]
        own = set(range(first, first + len(self.nodes[node_index].operator.outputs)))
        return any(own & set(arguments) for arguments in self._arguments[node_index + 1 :])

    def _slots_to_release(self) -> list[list[int]]:
        """Return the slots to release after the inputs, and after each node."""
        last = dict.fromkeys(range(self._width), -1)
        for node_index, first in enumerate(self._first):
            for slot in range(first, first + len(self.nodes[node_index].operator.outputs)):
                last[slot] = node_index
        for node_index, arguments in enumerate(self._arguments):
            for slot in arguments:
                last[slot] = max(last[slot], node_index)
        dead: list[list[int]] = [[] for _ in range(len(self.nodes) + 1)]
        for slot, node_index in last.items():
            dead[node_index + 1].append(slot)
        return dead

    def _finished(self, values: list[Matrix | None], node_index: int) -> Iterable[tuple[int, Matrix]]:
        """Yield the requested columns of node `node_index` (-1: the inputs), then release slots."""
        if node_index < 0:
            made = range(len(self.inputs))
        else:
            made = range(
                self._first[node_index],
                self._first[node_index] + len(self.nodes[node_index].operator.outputs),
            )
        for slot in made:
            for index in self._columns_by_slot.get(slot, ()):
                yield index, _require_values(values[slot])
        for slot in self._released[node_index + 1]:
            values[slot] = None


class GraphStream:
    """A graph that is updated bar by bar."""

    def __init__(self, graph: Graph, handles: list[Handle]) -> None:
        self._width, self._column_slots = graph._width, graph._column_slots
        self._inputs = [(name, graph._slots[Input(name).key]) for name in graph.inputs]
        crosses = [node.operator.cross for node in graph.nodes]
        self._steps = list(zip(handles, graph._arguments, graph._first, crosses, strict=True))

    def update(
        self, inputs: Mapping[str, Vector], time: np.datetime64, outside: FiniteMask | None = None
    ) -> list[Vector]:
        """Return the columns at one more bar, each float64 `[N]`; `outside` `[N]` as in `Graph.batch`."""
        values: list[Any] = [None] * self._width
        for name, slot in self._inputs:
            values[slot] = inputs[name]
        for handle, slots, first, cross in self._steps:
            arguments = tuple([values[slot] for slot in slots])
            results = handle.update(_visible(arguments, outside) if cross else arguments, time)
            values[first : first + len(results)] = results
        return [values[slot] for slot in self._column_slots]


def _visible(arguments: tuple[Matrix, ...], outside: FiniteMask | None) -> tuple[Matrix, ...]:
    """Return `arguments` without the values of symbols outside the universe."""
    if outside is None:
        return arguments
    return tuple(np.asfortranarray(np.where(outside, np.nan, values)) for values in arguments)


def _require_values(values: Matrix | None) -> Matrix:
    if values is None:
        raise InputError("a column was let go of before it was used; this is a defect of the graph")
    return values
