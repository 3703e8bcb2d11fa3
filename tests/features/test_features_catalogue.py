"""Every indicator of the catalogue: batch and stream are one definition, and none sees the future.

A sample of the catalogue is looked at in each run, all of it in the long one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from alphaloop.bars import BarPanel
from features import catalogue
from features.engine.columns import contiguous_columns
from features.engine.graph import Graph, Node, NodeOutput
from features.engine.operator import Axes

BARS = 420
TOLERANCE = 1e-9
SYMBOLS = ("A", "B", "C")

Make = Callable[[], BarPanel]


def market(seed: int = 7, bars: int = BARS, scale: float = 1.0, volatility: float = 0.015) -> BarPanel:
    """Bars that look like a market's: three symbols, with a book, trade flow, a benchmark and sectors."""
    random = np.random.default_rng(seed)
    shape = (bars, len(SYMBOLS))
    close = scale * 50 * np.exp(np.cumsum(random.standard_t(4, shape) * volatility, axis=0))
    opened = close * (1 + random.normal(0, volatility / 3, shape))
    high = np.maximum(opened, close) * (1 + random.uniform(0, volatility, shape))
    low = np.minimum(opened, close) * (1 - random.uniform(0, volatility, shape))
    volume = np.round(random.lognormal(13, 0.5, shape))
    extra = {
        "buy_volume": np.round(volume * random.uniform(0.3, 0.7, shape)),
        "benchmark": np.repeat(close.mean(axis=1, keepdims=True), shape[1], axis=1),
        "sector": np.tile(np.array([0.0, 0.0, 1.0]), (bars, 1)),
    }
    extra["sell_volume"] = volume - extra["buy_volume"]
    for level in range(1, 6):
        extra[f"bid_price_{level}"] = close * (1 - 0.0002 * level)
        extra[f"ask_price_{level}"] = close * (1 + 0.0002 * level)
        extra[f"bid_size_{level}"] = np.round(random.uniform(100, 900, shape))
        extra[f"ask_size_{level}"] = np.round(random.uniform(100, 900, shape))
    extra["shares_outstanding"] = np.full(shape, 1e9)
    start = np.datetime64("2019-01-02T21:00", "ns")
    return BarPanel(
        timestamps=start + np.arange(bars) * np.timedelta64(1, "D"),
        symbols=SYMBOLS,
        open=opened,
        high=high,
        low=low,
        close=close,
        volume=volume,
        adjustment=np.ones(shape),
        extra=extra,
    )


def with_gaps() -> BarPanel:
    """A symbol that begins late, holes of one and of many bars, and bars that nobody has."""
    bars = market(11)
    here = np.random.default_rng(12).uniform(size=bars.close.shape) > 0.05
    here[:60, 1] = False
    here[200:215, 2] = False
    here[300] = False

    def cut(values: np.ndarray) -> np.ndarray:
        return np.where(here, values, np.nan)

    named = {name: cut(getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")}
    return replace(bars, **named, extra={name: cut(values) for name, values in bars.extra.items()})


def constant() -> BarPanel:
    """Prices that never move, and no volume in one symbol."""
    bars = market(13, volatility=0.0)
    volume = bars.volume.copy()
    volume[:, 0] = 0.0
    flow = {name: np.zeros_like(volume) for name in ("buy_volume", "sell_volume")}
    return replace(bars, volume=volume, extra={**bars.extra, **flow})


def split() -> BarPanel:
    """Raw prices that halve at once, and the adjustment that says why."""
    bars = market(14)
    adjustment = np.ones_like(bars.close)
    adjustment[200:] = 2.0
    named = {name: getattr(bars, name) / adjustment for name in ("open", "high", "low", "close")}
    return replace(bars, **named, volume=bars.volume * adjustment, adjustment=adjustment)


UNIVERSES: dict[str, Make] = {
    "market": market,
    "gaps": with_gaps,
    "constant": constant,
    "huge": lambda: market(15, scale=1e10),
    "tiny": lambda: market(16, scale=1e-10),
    "wild": lambda: market(17, volatility=0.15),
    "split": split,
    "one bar": lambda: market(18, bars=1),
    "few bars": lambda: market(19, bars=12),
}


@cache
def nodes() -> dict[str, Node]:
    """Every indicator with its default inputs and parameters."""
    return {name: catalogue.build_indicator(name) for name in catalogue.indicator_names()}


def sample() -> list[str]:
    """A fifth of the catalogue, the same indicators in each run."""
    return [
        name for name in catalogue.indicator_names() if hashlib.sha256(name.encode()).digest()[0] % 5 == 0
    ]


def graph_of(names: list[str]) -> tuple[Graph, list[str]]:
    """All outputs of the indicators `names`, and whose each is."""
    found = [(name, nodes()[name]) for name in names]
    outputs = [(name, NodeOutput(node, i)) for name, node in found for i in range(len(node.operator.outputs))]
    return Graph([output for _, output in outputs]), [name for name, _ in outputs]


def batch(graph: Graph, bars: BarPanel) -> np.ndarray:
    """All columns of a graph, `[columns, T, N]`."""
    axes = Axes(bars.timestamps, bars.symbols)
    found = dict(graph.batch(contiguous_columns(bars, graph.inputs), axes))
    return np.stack([found[place] for place in range(len(found))])


def stream(graph: Graph, bars: BarPanel, history: int) -> np.ndarray:
    """The columns of the bars after the first `history`, bar by bar."""
    past = bars._take(slice(0, history))
    handle = graph.stream(contiguous_columns(past, graph.inputs), Axes(past.timestamps, past.symbols))
    given = contiguous_columns(bars, graph.inputs)
    rows = [
        handle.update({name: values[row] for name, values in given.items()}, bars.timestamps[row])
        for row in range(history, len(bars))
    ]
    return np.stack([np.stack(row) for row in rows], axis=1)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest relative difference; infinite where only one has a value."""
    if (np.isnan(one) != np.isnan(other)).any():
        return float("inf")
    with np.errstate(all="ignore"):
        apart = np.abs(one - other) / np.maximum(np.maximum(np.abs(one), np.abs(other)), 1e-300)
    return float(np.nanmax(np.where(one == other, 0.0, apart), initial=0.0))


def disagreements(names: list[str], bars: BarPanel, history: int) -> dict[str, float]:
    """Indicators whose stream and batch differ by more than they promise."""
    graph, owners = graph_of(names)
    whole, streamed = batch(graph, bars), stream(graph, bars, history)
    worst: dict[str, float] = {}
    for name, built, carried in zip(owners, whole[:, history:], streamed, strict=True):
        allowed = 0.0 if nodes()[name].exact else TOLERANCE
        apart = difference(built, carried)
        if apart > allowed:
            worst[name] = max(apart, worst.get(name, 0.0))
    return worst


@pytest.mark.parametrize("universe", UNIVERSES)
def test_streams_repeat_batches(universe: str) -> None:
    """On every kind of bars a sample of indicators streams into what its batch says: to the last bit
    where that is promised, within 1e-9 elsewhere.
    """
    bars = UNIVERSES[universe]()
    assert disagreements(sample(), bars, min(len(bars) - 1, 350)) == {}


@pytest.mark.long
@pytest.mark.parametrize("universe", UNIVERSES)
def test_all_streams_repeat_all_batches(universe: str) -> None:
    """The same of the whole catalogue, from several lengths of history on."""
    bars = UNIVERSES[universe]()
    for history in sorted({0, *(cut for cut in (1, 2, 37, 250, 400) if cut < len(bars))}):
        assert disagreements(list(catalogue.indicator_names()), bars, history) == {}


@pytest.mark.parametrize("cut", [5, 260, 400])
def test_no_indicator_sees_a_later_bar(cut: int) -> None:
    """Whatever the bars after t are, no value at or before t of any indicator changes by a bit."""
    before = market()
    later = market(99)
    mixed = {
        name: np.vstack([getattr(before, name)[: cut + 1], getattr(later, name)[cut + 1 :]])
        for name in ("open", "high", "low", "close", "volume", "adjustment")
    }
    extra = {
        name: np.vstack([values[: cut + 1], later.extra[name][cut + 1 :]])
        for name, values in before.extra.items()
    }
    after = replace(before, **mixed, extra=extra)
    graph, owners = graph_of(list(catalogue.indicator_names()))
    one, other = batch(graph, before)[:, : cut + 1], batch(graph, after)[:, : cut + 1]
    changed = [name for name, a, b in zip(owners, one, other, strict=True) if difference(a, b) > 0]
    assert changed == []


def test_the_catalogue_holds_what_a_trader_expects() -> None:
    """About 250 indicators by name: all 201 of TA-Lib, and each with a description, inputs and outputs."""
    import talib

    names = catalogue.indicator_names()
    assert {name.lower() for name in talib.get_functions()} <= set(names)
    assert len(names) >= 250
    for name in names:
        found = catalogue.find_indicator(name)
        assert found.description and found.group and found.inputs and found.outputs
        assert nodes()[name].lookback >= 1


def test_every_indicator_has_values_on_a_market() -> None:
    """With enough ordinary bars every output has finite values, at prices above or below 1."""
    graph, owners = graph_of(list(catalogue.indicator_names()))
    above, below = (batch(graph, market(bars=900, scale=scale)) for scale in (1.0, 0.005))
    finite = np.isfinite(above).any(axis=(1, 2)) | np.isfinite(below).any(axis=(1, 2))
    assert [name for name, found in zip(owners, finite, strict=True) if not found] == []
    assert not np.isinf(above).any()
