"""The turn of one bar: features, forecasts, orders, evidence, drift, retraining.

Every part is the production one and receives its inputs as in a live system; only the clock and the feed
are those of a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.bars import BarPanel, Slice
from alphaloop.clock import ReplayClock, monotonic
from alphaloop.errors import ServingError
from alphaloop.forecasts import Route, RoutedForecasts
from features.store.live_writer import LiveFeatureWriter
from marketdata.storage.snapshots import Snapshot
from monitoring.drift_check import live_features
from monitoring.retrain_trigger import RETRAIN_REQUEST, DriftWatch
from pipelines.request_runner import RequestRunner
from rollouts.controller import RolloutController
from rollouts.transition import Transition
from serving.log.prediction_log import PredictionLogReader, PredictionRow
from trading.engine import BarOutcome, TradingEngine
from trading.forecaster import ServedForecaster

LOG_WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ReplayMarket:
    """Bars of one universe, split into past and future.

    Parameters
    ----------
    source : str
        Name of the source of market data.
    past : BarPanel
        Bars that may be learned from.
    future : BarPanel
        Bars to trade.
    snapshot : Snapshot
        Stored snapshot of `past`.
    resumed : bool
        True where an earlier run may have stored and published some of `future`.
    """

    source: str
    past: BarPanel
    future: BarPanel
    snapshot: Snapshot
    resumed: bool = False


class MeteredForecaster:
    """Served forecaster that records the latency of each sleeve's answer, in ms, and counts failures.

    The answers of one request have one latency.
    """

    def __init__(self, served: ServedForecaster) -> None:
        self._served = served
        self.latencies_ms: list[float] = []
        self.errors = 0

    def require(self, generation: int) -> None:
        """Make the server read a rollout document of at least `generation` before it answers.

        A replay of many bars a second is then routed like a live market with minutes between bars.
        """
        self._served.min_generation = generation

    def forecasts(self, symbols: tuple[str, ...], as_of: datetime, sleeves: Sequence[str]) -> RoutedForecasts:
        """Request the predictions of all sleeves; raises `ServingError`."""
        began = monotonic()
        try:
            routed = self._served.forecasts(symbols, as_of, sleeves)
        except ServingError:
            self.errors += len(sleeves)
            raise
        answers = routed.forecasts.values()
        self.latencies_ms += [(monotonic() - began) * 1e3] * len(answers)
        self.errors += len(routed.failures) + sum(answer.route == Route.FALLBACK for answer in answers)
        return routed


@dataclass(slots=True)
class Turn:
    """Results of one bar.

    Parameters
    ----------
    as_of : datetime
        Close of the bar, in UTC.
    outcome : BarOutcome
        Forecasts, orders and fills.
    transition : Transition, optional
        Step of the rollout.
    news : list of dict
        Journal records of the drift watch.
    retrained : list of dict
        Conclusions of retraining runs.
    """

    as_of: datetime
    outcome: BarOutcome
    transition: Transition | None = None
    news: list[dict[str, Any]] = field(default_factory=list)
    retrained: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class Loop:
    """Loop of one model on one universe; `loop.wiring.open_loop` builds it.

    Parameters
    ----------
    history : BarPanel
        Past bars.
    clock : ReplayClock
        Clock that each bar advances.
    duty : LiveFeatureWriter
        Writer that stores each bar and publishes its features.
    engine : TradingEngine
        Engine that decides and trades.
    forecaster : MeteredForecaster
        Client of the prediction server.
    controller : RolloutController
        Controller of the model's rollout.
    log : PredictionLogReader
        Reader of the prediction log.
    watch : DriftWatch, optional
        Drift watch; without it, nothing is retrained.
    runner : RequestRunner, optional
        Runner of retrain requests; without it, nothing is retrained.
    on_retraining : callable
        Called with each request before it is run.

    Attributes
    ----------
    turns : list of Turn
        Results of all bars so far.
    """

    history: BarPanel
    clock: ReplayClock
    duty: LiveFeatureWriter
    engine: TradingEngine
    forecaster: MeteredForecaster
    controller: RolloutController
    log: PredictionLogReader
    watch: DriftWatch | None = None
    runner: RequestRunner | None = None
    on_retraining: Callable[[dict[str, Any]], None] = lambda request: None
    turns: list[Turn] = field(default_factory=list)
    _live: list[Slice] = field(default_factory=list)
    _rows: dict[datetime, list[PredictionRow]] = field(default_factory=dict)
    _answered: dict[datetime, bool] = field(default_factory=dict)
    _judged: int = 0

    def turn(self, bars: Slice) -> Turn:
        """Process one bar: publish features, trade, then judge the bars that the server has logged."""
        self.clock.advance(bars.timestamp)
        self.duty.on_bar(bars)
        self._live.append(bars)
        self.forecaster.require(self.controller.document.generation)
        turn = Turn(bars.timestamp, self.engine.on_bar(bars))
        self._answered[bars.timestamp] = bool(turn.outcome.forecasts)
        self.turns.append(turn)
        self._judge_up_to(len(self._live) - 1, turn)
        return turn

    def finish(self) -> Turn:
        """Judge the remaining bars in the log after the last bar was traded.

        Returns only their results.
        """
        last = Turn(self.turns[-1].as_of, self.turns[-1].outcome)
        self._judge_up_to(len(self._live), last)
        return last

    def bars(self, count: int | None = None) -> BarPanel:
        """Return the history with the live bars, or with the first `count` of them."""
        return _joined(self.history, self._live[:count])

    def _judge_up_to(self, count: int, turn: Turn) -> None:
        """Judge the live bars up to number `count`, once the server has logged their answers."""
        while self._judged < count:
            as_of = self._live[self._judged].timestamp
            self._judged += 1
            rows = self._logged(as_of) if self._answered[as_of] else []
            if not rows:
                continue
            if self.controller.document.challenger is not None:
                turn.transition = (
                    self.controller.on_bar(as_of, rows, self.bars(self._judged)) or turn.transition
                )
            if self.watch is not None:
                for seen in live_features(rows, self.watch.universe_of):
                    turn.news += self.watch.on_bar(*seen)
            if self.runner is not None and any(one["kind"] == RETRAIN_REQUEST for one in turn.news):
                turn.retrained += self._retrain()

    def _retrain(self) -> list[dict[str, Any]]:
        if self.runner is None:
            return []
        for request in self.runner.pending():
            self.on_retraining(request)
        return self.runner.consume()

    def _logged(self, as_of: datetime) -> list[PredictionRow]:
        if as_of not in self._rows:
            for row in self.log.wait_for(as_of, LOG_WAIT_SECONDS):
                if row.as_of is not None:
                    self._rows.setdefault(row.as_of, []).append(row)
        return self._rows.pop(as_of, [])


def _joined(history: BarPanel, live: list[Slice]) -> BarPanel:
    return history.then(BarPanel.from_slices(live)) if live else history
