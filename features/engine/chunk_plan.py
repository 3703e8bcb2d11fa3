"""A graph cut into stages that need only a part of the bars at a time.

Operators over a symbol's own past need some symbols and all bars; those over the universe need all
symbols and some bars. The stages alternate between the two, and what one leaves to a later one is a
series in between, kept under a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from features.engine.graph import Column, Graph, Input, Node, Output

Axis = Literal["symbols", "bars"]
"""Which axis may be cut into chunks."""


@dataclass(frozen=True)
class Stage:
    """`columns` by `names`: a feature (its place as text) or a series in between.

    `graph` computes them from columns of the bars and from series in between that came before. `lookback`
    is how many bars a value depends on, the last included: chunks of bars overlap by one less.
    """

    axis: Axis
    names: tuple[str, ...]
    graph: Graph
    lookback: int


def plan(columns: Sequence[Column]) -> list[Stage]:
    """The stages that compute `columns`; a feature's name is its place."""
    level = {column.key: _level(column) for column in columns}
    deepest = max(level.values(), default=0)
    cut = _Cut()
    # Rewriting the features finds all series in between, also those that others of them need.
    rewritten = [(str(place), level[column.key], cut.top(column)) for place, column in enumerate(columns)]
    wanted = [*rewritten, *((name, depth, column) for name, (depth, column) in cut.between.items())]
    stages = []
    for depth in range(deepest + 1):
        chosen = [(name, column) for name, one, column in wanted if one == depth]
        if chosen:
            graph = Graph([column for _, column in chosen])
            axis: Axis = "bars" if depth % 2 else "symbols"
            lookback = max(column.lookback for _, column in chosen)
            stages.append(Stage(axis, tuple(name for name, _ in chosen), graph, lookback))
    return stages


def _level(column: Column) -> int:
    """Even where the last operator looks at one symbol, odd where it looks at the universe."""
    if isinstance(column, Input):
        return 0
    below = max((_level(argument) for argument in column.node.arguments), default=0)
    crosses = column.node.operator.cross
    return below if crosses == bool(below % 2) else below + 1


class _Cut:
    """Replaces what an earlier stage computes by an input of that name."""

    def __init__(self) -> None:
        self.between: dict[str, tuple[int, Column]] = {}

    def top(self, column: Column) -> Column:
        """`column`, with everything of earlier stages below it cut off."""
        if isinstance(column, Input):
            return column
        level = _level(column)
        arguments = tuple(self._argument(argument, level) for argument in column.node.arguments)
        return Output(Node(column.node.operator, arguments, column.node.definition), column.index)

    def _argument(self, column: Column, level: int) -> Column:
        # All symbols' bars at once are too many to read: a stage over the universe gets them in between.
        if isinstance(column, Input) and level % 2 == 0:
            return column
        if _level(column) == level:
            return self.top(column)
        name = f"between:{column.key}"
        if name not in self.between:
            self.between[name] = (_level(column), self.top(column))
        return Input(name)
