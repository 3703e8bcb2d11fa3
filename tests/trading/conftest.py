"""Bars, scores and engines for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, Slice, to_datetime
from alphaloop.clock import ReplayClock
from alphaloop.costs import CostModel
from alphaloop.forecasts import Forecast, RoutedForecasts
from alphaloop.journal.store import Journal
from alphaloop.orders import Fill, Order
from alphaloop.sleeve_plan import sleeve_names
from trading.brokers.paper import PaperBroker
from trading.engine import BarOutcome, TradingEngine
from trading.execution.corporate_actions import BookedCorporateAction
from trading.forecaster import ArrayForecaster
from trading.risk.risk_check import RiskCheck, RiskLimits


def _bars(count: int = 40, symbols: int = 5, seed: int = 1, opens: bool = False) -> BarPanel:
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0003, 0.015, (count, symbols)), axis=0))
    nothing = np.full((count, symbols), np.nan)
    return BarPanel(
        timestamps=np.datetime64("2019-01-02T21:00", "ns") + np.arange(count) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{index:02d}" for index in range(symbols)),
        open=close * 1.01 if opens else nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones((count, symbols)),
    )


class Divided:
    """Two models that disagree wholly: the first `challengers` sleeves get the opposite scores."""

    def __init__(self, bars: BarPanel, challengers: int = 2, scores: np.ndarray | None = None) -> None:
        if scores is None:
            scores = np.random.default_rng(3).normal(size=bars.close.shape)
        self._champion = ArrayForecaster(bars.timestamps, bars.symbols, scores, version="1")
        self._challenger = ArrayForecaster(bars.timestamps, bars.symbols, -scores, version="2")
        self._challengers = sleeve_names(challengers)
        self.asked: list[tuple[str, ...]] = []

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        self.asked.append(tuple(sleeves))
        return RoutedForecasts({sleeve: self._forecast(symbols, as_of, sleeve) for sleeve in sleeves})

    def _forecast(self, symbols: tuple[str, ...], as_of: datetime, sleeve: str) -> Forecast:
        one = self._challenger if sleeve in self._challengers else self._champion
        given = one.forecast(symbols, as_of)
        return replace(given, prediction_id=f"{given.prediction_id}/{sleeve}")


class SlowBroker:
    """Fills a third of what is open, twice a bar, and the last crumbs together: a venue with little."""

    def __init__(self, costs: CostModel) -> None:
        self._paper = PaperBroker(costs)
        self._left: dict[str, tuple[Order, Decimal]] = {}
        self.taken: list[str] = []
        self._pieces = 0

    def submit(self, orders: Sequence[Order]) -> None:
        for order in orders:
            if order.client_order_id not in self.taken:
                self.taken.append(order.client_order_id)
                self._left[order.client_order_id] = (order, order.quantity)

    def apply_action(self, action: BookedCorporateAction) -> None:
        kept = {order.client_order_id: (order, order.quantity) for order in action.orders}
        for name, (order, _) in list(self._left.items()):
            if order.symbol == action.symbol:
                del self._left[name]
                self._left.update({name: kept[name]} if name in kept else {})

    def on_bar(self, bars: Slice) -> list[Fill]:
        fills = []
        for name, (order, left) in list(self._left.items()):
            if order.decided_at >= bars.timestamp:
                continue
            part = (left / 3).quantize(Decimal("0.0001"))
            part = part if part > Decimal("0.01") else left
            # Twice in one bar, so that two fills of one order come in one batch.
            for quantity in filter(None, (part, min(part, left - part))):
                self._pieces += 1
                piece = replace(order, client_order_id=f"piece-{self._pieces}", quantity=quantity)
                self._paper.submit([piece])
                (fill,) = self._paper.on_bar(bars)
                fills.append(replace(fill, client_order_id=name))
            still = left - part - min(part, left - part)
            self._left[name] = (order, still)
            if not still:
                del self._left[name]
        return fills


class Rig:
    """An engine over real parts: paper broker, journal on disk, replayed clock."""

    def __init__(self, folder: Path, bars: BarPanel, **given: object) -> None:
        self.bars, self.folder = bars, folder
        self.costs = given.get("costs") or CostModel()
        self.clock = ReplayClock(to_datetime(bars.timestamps[0]))
        self.journal = Journal(folder / "journal.db", folder / "anchors.jsonl", self.clock)
        scores = given.get("scores")
        alike = None if scores is None else ArrayForecaster(bars.timestamps, bars.symbols, scores)
        self.forecaster = given.get("forecaster") or alike or Divided(bars)
        self.limits = given.get("limits") or RiskLimits(max_weight=0.6)
        self.strategy = given.get("strategy") or AllocationStrategy()
        self.sleeves = given.get("sleeves", 4)
        self.broker = given.get("broker") or PaperBroker(self.costs)
        self.engine = self.start()

    def start(self) -> TradingEngine:
        """A fresh engine on the same journal and broker, as after a restart."""
        self.writer = self.journal.writer("trading")
        self.engine = TradingEngine(
            self.bars.symbols,
            self.broker,
            self.forecaster,
            self.strategy,
            RiskCheck(self.limits),
            self.costs,
            sleeves=sleeve_names(self.sleeves),
            capital=1_000_000,
            clock=self.clock,
            journal_writer=self.writer,
            simulated=True,
        )
        return self.engine

    def run(self, first: int, last: int) -> list[BarOutcome]:
        """Trade the bars `first` to `last - 1`."""
        outcomes = []
        for index in range(first, last):
            bars = self.bars.at(index)
            if bars.timestamp > self.clock.now():
                self.clock.advance(bars.timestamp + timedelta(seconds=1))
            outcomes.append(self.engine.on_bar(bars))
        return outcomes

    def records(self, kind: str | None = None) -> list:
        return list(self.journal.records("trading", kind))


@pytest.fixture
def make_bars() -> Callable[..., BarPanel]:
    """`make_bars(count, symbols, seed, opens)`: a random walk."""
    return _bars


@pytest.fixture
def make_rig(tmp_path: Path) -> Callable[..., Rig]:
    """`make_rig(bars, forecaster=…, limits=…, sleeves=…, broker=…)`: an engine over real parts."""
    rigs = []

    def make(bars: BarPanel, name: str = "run", **given: object) -> Rig:
        (tmp_path / name).mkdir()
        rigs.append(Rig(tmp_path / name, bars, **given))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.journal.close()


@pytest.fixture
def slow_broker() -> SlowBroker:
    """A broker that fills in parts."""
    return SlowBroker(CostModel())


@pytest.fixture
def divided() -> type[Divided]:
    """The forecaster of two models that disagree."""
    return Divided
