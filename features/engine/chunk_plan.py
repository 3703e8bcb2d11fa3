"""Plan that cuts a graph into stages, each over a part of the bars.

Operators over a symbol's own past need some symbols and all bars; those over the universe need all symbols
and some bars. Stages alternate between the two. A result that a later stage needs is an intermediate series,
kept under a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from features.engine.graph import Column, Graph, Input, Node, NodeOutput

Axis = Literal["symbols", "bars"]
"""Which axis may be cut into chunks."""


@dataclass(frozen=True)
class ComputeStage:
    """Columns by `names`: features (their index as text) or intermediate series.

    `graph` computes them from columns of the bars and from intermediate series of earlier stages. `lookback`
    is the number of bars a value depends on, the last included: chunks of bars overlap by one less.
    """

    axis: Axis
    names: tuple[str, ...]
    graph: Graph
    lookback: int


def plan_chunks(columns: Sequence[Column]) -> list[ComputeStage]:
    """Return the stages that compute `columns`; a feature's name is its index."""
    level = {column.key: _level(column) for column in columns}
    deepest = max(level.values(), default=0)
    cut = _Cut()
    # Rewriting the features finds all intermediate series, also those that others of them need.
    rewritten = [(str(index), level[column.key], cut.top(column)) for index, column in enumerate(columns)]
    wanted = [*rewritten, *((name, depth, column) for name, (depth, column) in cut.between.items())]
    stages = []
    for depth in range(deepest + 1):
        chosen = [(name, column) for name, one, column in wanted if one == depth]
        if chosen:
            graph = Graph([column for _, column in chosen])
            axis: Axis = "bars" if depth % 2 else "symbols"
            lookback = max(column.lookback for _, column in chosen)
            stages.append(ComputeStage(axis, tuple(name for name, _ in chosen), graph, lookback))
    return stages


def _level(column: Column) -> int:
    """Return an even level if the last operator reads one symbol, odd if it reads the universe."""
    if isinstance(column, Input):
        return 0
    below = max((_level(argument) for argument in column.node.arguments), default=0)
    crosses = column.node.operator.cross
    return below if crosses == bool(below % 2) else below + 1


class _Cut:
    """Replaces results of earlier stages by inputs of their name."""

    def __init__(self) -> None:
        self.between: dict[str, tuple[int, Column]] = {}

    def top(self, column: Column) -> Column:
        """Return `column` with everything below it that earlier stages compute cut off."""
        if isinstance(column, Input):
            return column
        level = _level(column)
        arguments = tuple(self._argument(argument, level) for argument in column.node.arguments)
        return NodeOutput(Node(column.node.operator, arguments, column.node.definition), column.index)

    def _argument(self, column: Column, level: int) -> Column:
        # Bars of all symbols are too many to read at once: stages over the universe read intermediate series.
        if isinstance(column, Input) and level % 2 == 0:
            return column
        if _level(column) == level:
            return self.top(column)
        name = f"between:{column.key}"
        if name not in self.between:
            self.between[name] = (_level(column), self.top(column))
        return Input(name)
