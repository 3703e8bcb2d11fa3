"""The turn of one bar in one process: the streamer, the executor, control and the runner in this order.

The parts are those of the daemons and receive their inputs as in a live system; only the clock and the feed
are those of a replay.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alphaloop.bars import BarPanel, Slice
from features.store.live_writer import LiveFeatureWriter
from loop.daemons.bar_streamer import BarStreamer
from loop.daemons.book_executor import BookExecutor
from loop.daemons.metered_forecaster import MeteredForecaster
from loop.daemons.model_control import Judgement, ModelControl
from marketdata.storage.snapshots import Snapshot
from monitoring.retrain_trigger import RETRAIN_REQUEST, DriftWatch
from pipelines.request_runner import RequestRunner
from rollouts.controller import RolloutController
from rollouts.transition import Transition
from trading.engine import BarOutcome, TradingEngine


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
    streamer : BarStreamer
        Stores each bar and publishes its features.
    executor : BookExecutor
        Decides and trades.
    control : ModelControl
        Judges the model's rollout and watches its drift.
    runner : RequestRunner, optional
        Runner of retrain requests; without it, nothing is retrained.
    on_retraining : callable
        Called with each request before it is run.
    judges : bool
        False where another process controls the model: bars are then traded here, and judged there.

    Attributes
    ----------
    turns : list of Turn
        Results of all bars so far.
    """

    streamer: BarStreamer
    executor: BookExecutor
    control: ModelControl
    runner: RequestRunner | None = None
    on_retraining: Callable[[dict[str, Any]], None] = lambda request: None
    judges: bool = True
    turns: list[Turn] = field(default_factory=list)

    @property
    def duty(self) -> LiveFeatureWriter:
        """Writer of bars and features."""
        return self.streamer.duty

    @property
    def engine(self) -> TradingEngine:
        """Engine that decides and trades."""
        return self.executor.engine

    @property
    def forecaster(self) -> MeteredForecaster:
        """Client of the prediction server."""
        return self.executor.forecaster

    @property
    def controller(self) -> RolloutController:
        """Controller of the model's rollout."""
        return self.control.controller

    @property
    def watch(self) -> DriftWatch | None:
        """Drift watch; None where drift is not watched."""
        return self.control.watch

    def turn(self, bars: Slice) -> Turn:
        """Process one bar: publish features, trade, then judge the bars that the server has logged."""
        self.streamer.on_bar(bars)
        turn = Turn(bars.timestamp, self.executor.on_bar(bars))
        self.turns.append(turn)
        if self.judges:
            self.control.see(bars, answered=bool(turn.outcome.forecasts))
            self._follow(turn, self.control.judge())
        return turn

    def finish(self) -> Turn:
        """Judge the remaining bars in the log after the last bar was traded.

        Returns only their results.
        """
        last = Turn(self.turns[-1].as_of, self.turns[-1].outcome)
        self._follow(last, self.control.judge(last=True))
        return last

    def bars(self) -> BarPanel:
        """Return the history with the live bars."""
        return self.control.bars()

    def _follow(self, turn: Turn, found: Judgement) -> None:
        """Note what control found, and run the retrainings that it asked for."""
        turn.transition, turn.news = found.transition, found.news
        if self.runner is None or all(one["kind"] != RETRAIN_REQUEST for one in found.news):
            return
        for request in self.runner.pending():
            self.on_retraining(request)
        turn.retrained = self.runner.consume()
