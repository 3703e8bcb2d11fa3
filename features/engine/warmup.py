"""Warm-up: the number of bars until a feature no longer depends on where history begins.

A smoothed value forgets its first bar only gradually: early values of an exponential average say more about
the first bar than about the market. So each feature with memory beyond its window is measured on reference
bars. It is computed from the whole history and from several later starts, and has settled from the bar on at
which all of these agree within `TOLERANCE` of its long-run scale (the standard deviation over the later
half). An output that sums since the first bar never settles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from alphaloop.errors import InputError
from features.engine.graph import Column, Graph, Input, Node, NodeOutput
from features.engine.multi_timeframe import Resample
from features.engine.operator import Axes, Matrix, Vector
from features.engine.operators.lag import Lag
from features.engine.operators.pointwise import Pointwise, TimePointwise
from features.engine.operators.warmup_mask import WarmupMask
from features.engine.operators.where import Where
from features.engine.operators.window import Window
from features.engine.reference_bars import reference_column

TOLERANCE = 0.01
"""Share of its long-run standard deviation within which a value counts as settled."""
MIN_BARS, MAX_BARS = 1_000, 30_000
_BARS_A_LOOKBACK = 8
_LONGER = 3
_BEGINNINGS = (0, 37, 83, 131, 190, 257, 310, 401)
_WITHOUT_MEMORY = (Window, Lag, Pointwise, TimePointwise, Where)
_CUT = "cut:"


def warmup_bars(column: Column) -> int | None:
    """Return the bars of a symbol until `column` has settled.

    Parameters
    ----------
    column : Column
        Output of an operator graph, as `Feature.column`.

    Returns
    -------
    int or None
        Number of bars, the settled bar included; the column's lookback if it has no memory beyond that. None
        for a column that never settles, such as a sum since the first bar.

    Examples
    --------
    >>> from features import catalogue
    >>> from features.engine.warmup import warmup_bars
    >>> warmup_bars(catalogue.build_indicator("sma", {"timeperiod": 20}).output())
    20
    >>> warmup_bars(catalogue.build_indicator("ema", {"timeperiod": 20}).output()) > 20
    True
    >>> warmup_bars(catalogue.build_indicator("obv").output()) is None
    True
    """
    settled_column = mask_unsettled(column)
    return None if settled_column is None else settled_column.lookback


def mask_unsettled(column: Column) -> Column | None:
    """Return `column` with unsettled values masked; None if it never settles.

    Series below an operator over the universe, or on coarser bars, are masked there already, so that the
    first values of one symbol do not disturb the ranks of the others.
    """
    below = _mask_unsettled_below(column)
    if below is None:
        return None
    skip = _values_to_skip(_cut_cross_inputs(column))
    if skip is None:
        return None
    return NodeOutput(Node(WarmupMask(skip), (below,), {"settled": skip}), 0) if skip else below


def require_settling(name: str, column: Column) -> None:
    """Raise `InputError` if feature `name` depends on where history begins, however long it is."""
    if mask_unsettled(column) is None:
        summed = _cumulative(column)
        raise InputError(
            f"feature '{name}' depends on where history begins: '{summed}' adds up since the first bar, and "
            f"a longer history gives other values; take its change, as difference({summed}, 20), or let it "
            f'begin with each period, as since_period({summed}, "month"), or set features.warmup = false'
        )


def _cumulative(column: Column) -> str:
    """Return the indicator in `column` that never settles although its inputs do."""
    if isinstance(column, Input):
        return column.name
    operator = column.node.operator
    below = (*column.node.arguments, *([operator.column] if isinstance(operator, Resample) else []))
    for argument in below:
        if mask_unsettled(argument) is None:
            return _cumulative(argument)
    return str(column.node.definition.get("indicator", "it"))


def _mask_unsettled_below(column: Column) -> Column | None:
    """Return `column` with its inputs from other symbols and coarser bars masked until settled."""
    if isinstance(column, Input):
        return column
    node, operator = column.node, column.node.operator
    arguments = [
        mask_unsettled(one) if operator.cross else _mask_unsettled_below(one) for one in node.arguments
    ]
    if isinstance(operator, Resample):
        inner = mask_unsettled(operator.column)
        if inner is None:
            return None
        operator = replace(operator, column=inner)
    if any(one is None for one in arguments):
        return None
    whole = tuple(one for one in arguments if one is not None)
    return NodeOutput(Node(operator, whole, node.definition), column.index)


def _cut_cross_inputs(column: Column) -> Column:
    """Return `column` with its parts over the universe and on coarser bars replaced by inputs."""
    if isinstance(column, Input):
        return column
    if column.node.operator.cross or isinstance(column.node.operator, Resample):
        return Input(f"{_CUT}{column.key}")
    arguments = tuple(_cut_cross_inputs(one) for one in column.node.arguments)
    return NodeOutput(Node(column.node.operator, arguments, column.node.definition), column.index)


_SKIPS: dict[str, int | None] = {}


def _values_to_skip(column: Column) -> int | None:
    """Return the number of finite values of `column` to mask; None if it never settles."""
    if isinstance(column, Input) or not _has_memory(column):
        return 0
    if column.key not in _SKIPS:
        # All outputs of a node are computed together, so they are measured together.
        outputs = [NodeOutput(column.node, index) for index in range(len(column.node.operator.outputs))]
        _SKIPS.update(zip((one.key for one in outputs), _measure_skips(outputs), strict=True))
    return _SKIPS[column.key]


def _has_memory(column: Column) -> bool:
    """Return whether a value may depend on bars before the column's lookback."""
    if isinstance(column, Input):
        return False
    operator = column.node.operator
    return not isinstance(operator, _WITHOUT_MEMORY) or any(map(_has_memory, column.node.arguments))


def _measure_skips(columns: Sequence[Column]) -> list[int | None]:
    """Measure `_skip` for all outputs of one node."""
    bars = min(max(MIN_BARS, _BARS_A_LOOKBACK * columns[0].lookback), MAX_BARS)
    skips = _measure_skips_over(columns, bars)
    if any(one is not None and math.isinf(one) for one in skips):
        skips = _measure_skips_over(columns, min(_LONGER * bars, MAX_BARS))
    return [None if one is None or math.isinf(one) else int(one) for one in skips]


def _measure_skips_over(columns: Sequence[Column], bars: int) -> list[float | None]:
    """Measure `_skip` over `bars` reference bars; infinite where a longer history might settle it.

    History begins later in each further symbol.
    """
    graph = Graph(columns)
    series = {name: _beginnings(name, bars) for name in graph.inputs}
    with np.errstate(all="ignore"):
        computed = dict(graph.batch(series, _axes(bars)))
    return [_settling(computed[index]) for index in range(len(columns))]


def _settling(values: Matrix) -> float | None:
    """Return the most finite values until any later start agrees with the first, `[bars, beginnings]`."""
    whole = values[:, 0]
    later = whole[len(whole) // 2 :]
    tolerance = TOLERANCE * float(np.nanstd(later)) if np.isfinite(later).any() else 0.0
    skips = [_agreement(values[:, start], whole, tolerance) for start in range(1, values.shape[1])]
    return None if None in skips else max(skip for skip in skips if skip is not None)


def _agreement(values: Vector, whole: Vector, tolerance: float) -> float | None:
    """Return the number of finite `values` before they agree with `whole` for good.

    None if they differ as much at the end as at the beginning, infinity if they keep converging.
    """
    both = np.flatnonzero(np.isfinite(values) & np.isfinite(whole))
    difference = np.abs(values[both] - whole[both])
    apart = np.flatnonzero(difference > tolerance)
    if not len(apart):
        return 0
    third = len(both) // 3
    if apart[-1] < len(both) * 9 // 10:
        return int(np.isfinite(values[: both[apart[-1]] + 1]).sum())
    return math.inf if difference[-third:].max() < difference[:third].max() / 2 else None


@cache
def _axes(bars: int) -> Axes:
    days = np.arange(bars) * np.timedelta64(1, "D")
    return Axes(np.datetime64("1990-01-01T21:00", "ns") + days, _symbols(_BEGINNINGS))


def _symbols(beginnings: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"FROM_{bar}" for bar in beginnings)


def _beginnings(name: str, bars: int) -> Matrix:
    """Return reference column `name`, starting later in each symbol, float64 `[bars, beginnings]`."""
    columns = np.repeat(reference_column(name, bars)[None], len(_BEGINNINGS), axis=0)
    for column, first in zip(columns, _BEGINNINGS, strict=True):
        column[:first] = np.nan
    return columns.T
