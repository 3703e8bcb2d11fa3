"""Wiring: build one running loop out of all packages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from alphaloop.bars import to_datetime
from alphaloop.clock import Clock, ReplayClock
from alphaloop.costs import CostModel
from alphaloop.journal.roles import executor_role
from alphaloop.journal.store import Journal
from alphaloop.journal.writer import StreamWriter
from alphaloop.settings.settings import Settings
from alphaloop.sleeve_plan import sleeve_names
from features.feature_set import feature_set_of
from features.store.live_writer import LiveFeatureWriter
from features.store.streamer import Streamer
from loop.daemons.bar_streamer import BarStreamer
from loop.daemons.book_executor import BookExecutor
from loop.daemons.metered_forecaster import MeteredForecaster
from loop.daemons.model_control import ModelControl
from loop.turn import Loop, ReplayMarket
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore
from models.registry.feature_sets_in_use import FeatureSetsInUse
from models.registry.model_registry import Registry
from monitoring.drift_check import make_drift_watch
from pipelines.request_runner import RequestRunner
from rollouts.metrics import RolloutCollector
from rollouts.metrics_page import serve_metrics
from rollouts.operations import make_controller
from serving.client.client import PredictionClient
from serving.log.prediction_log import PredictionLogReader
from trading.broker import open_broker
from trading.engine import TradingEngine
from trading.execution.instrument_terms import InstrumentTerms
from trading.forecaster import Forecaster, ServedForecaster
from trading.progress import SESSION_KIND, session_body
from trading.risk.risk_check import RiskCheck, RiskLimits
from trading.strategy import configured_strategy


@dataclass(slots=True)
class LoopContext:
    """Parts shared by all universes of a run.

    Parameters
    ----------
    settings : Settings
        All settings, including the address of the prediction server.
    clock : ReplayClock
        Clock of the run.
    journal : Journal
        Journal of all streams.
    registry : Registry
        Registry of models.
    """

    settings: Settings
    clock: ReplayClock
    journal: Journal
    registry: Registry


@contextmanager
def open_loop(
    world: LoopContext,
    market: ReplayMarket,
    *,
    stream: str,
    watched: bool,
    broker: str = "paper",
    judges: bool = True,
) -> Iterator[Loop]:
    """Open a loop over `market.future`, and close its parts at the end of the block.

    Where the settings name a port, the rollout's metrics are served to Prometheus meanwhile.

    Parameters
    ----------
    world : LoopContext
        Settings, clock, journal and registry.
    market : ReplayMarket
        Past and future bars of one universe.
    stream : str
        Journal stream of the trading records.
    watched : bool
        Adds the drift watch and the runner of retrain requests.
    broker : str
        Name of the broker.
    judges : bool
        False where another process controls the model: rollout and drift are judged there.

    Yields
    ------
    Loop

    Raises
    ------
    UnknownNameError
        For a broker or a strategy that does not exist.
    PortInUseError
        For a metrics port that another process holds.
    SettingsError
        For a metrics host that is not this machine's.
    DataError
        For a file of instruments that cannot be read.
    InputError
        For instruments whose lots no book can count.
    MissingStateError
        Where drift is watched and there is no calibration.
    """
    settings, model = world.settings, world.settings.serving.model
    client = PredictionClient.from_settings(settings)
    with ExitStack() as opened:
        opened.callback(client.close)
        streamer = opened.enter_context(open_streamer(settings, world.clock, world.registry, market))
        forecaster = MeteredForecaster(ServedForecaster(client, settings.trading.prediction_deadline_ms))
        role = opened.enter_context(world.journal.take_role(executor_role(stream)))
        writer = opened.enter_context(world.journal.writer(stream, role))
        engine = make_engine(
            settings, market.past.symbols, market.source, forecaster, world.clock, writer, broker=broker
        )
        controller = make_controller(settings, model, world.journal, world.registry)
        collector = RolloutCollector(controller.model, lambda: controller.status, world.journal)
        opened.enter_context(
            serve_metrics(collector, settings.rollout.metrics_port, settings.rollout.metrics_host)
        )
        # Before any bar is stored, so that a run that ends without a decision is resumed from here.
        writer.append(SESSION_KIND, _session(market))
        yield Loop(
            streamer=streamer,
            executor=BookExecutor(engine, forecaster, lambda: controller.document.generation),
            control=ModelControl(
                history=market.past,
                controller=controller,
                log=PredictionLogReader(settings.locations.prediction_log, model, by_symbols=True),
                wait=settings.rollout.evidence_wait,
                watch=make_drift_watch(settings, world.journal, world.registry) if watched else None,
            ),
            runner=RequestRunner(settings, world.journal) if watched else None,
            judges=judges,
        )


@contextmanager
def open_streamer(
    settings: Settings, clock: Clock, registry: Registry, market: ReplayMarket
) -> Iterator[BarStreamer]:
    """Open the streamer of a market's source, with the windows of the last past bar online.

    Parameters
    ----------
    settings : Settings
        Feature set, online store and folder of snapshots.
    clock : Clock
        Clock of the bars.
    registry : Registry
        Registry whose rollouts say which further features are needed.
    market : ReplayMarket
        Bars before the first one to stream, and their snapshot.

    Yields
    ------
    BarStreamer

    Raises
    ------
    InputError
        Where another process writes the online store.
    DataError
        Where the online store holds later bars than a market that no run has traded.
    """
    symbols = market.past.symbols
    needed = FeatureSetsInUse(registry, feature_set_of(settings), symbols)
    with Streamer.from_settings(
        # Bars that an earlier run published after `market.past` are written anew.
        *(settings, symbols, market.past, clock),
        further=needed(),
        replace=market.resumed,
    ) as streamer:
        streamer.materialize(market.snapshot.id)
        snapshots = SnapshotStore(settings.locations.snapshots)
        yield BarStreamer(clock, LiveFeatureWriter(streamer, snapshots, market.snapshot.id, further=needed))


def make_engine(
    settings: Settings,
    symbols: tuple[str, ...],
    source: str,
    forecaster: Forecaster,
    clock: Clock,
    writer: StreamWriter,
    *,
    broker: str = "paper",
) -> TradingEngine:
    """Build the engine of a book under the trading settings.

    Parameters
    ----------
    settings : Settings
        Section `trading`.
    symbols : tuple of str
        Symbols to trade.
    source : str
        Name of the source of bars.
    forecaster : Forecaster
        Source of forecasts.
    clock : Clock
        Clock by which the age of bars is checked.
    writer : StreamWriter
        Writer of the book's stream.
    broker : str
        Name of the broker.

    Returns
    -------
    TradingEngine
        An engine without a history; `trading.recovery` restores one.

    Raises
    ------
    UnknownNameError
        For a broker or a strategy that does not exist.
    DataError
        For a file of instruments that cannot be read.
    InputError
        For instruments whose lots no book can count.
    """
    trading, costs = settings.trading, CostModel.from_settings(settings.trading)
    terms = InstrumentTerms.from_settings(trading, symbols)
    return TradingEngine(
        symbols=symbols,
        broker=open_broker(broker, costs, terms),
        forecaster=forecaster,
        strategy=configured_strategy(trading),
        risk=RiskCheck(RiskLimits.from_settings(trading)),
        costs=costs,
        sleeves=sleeve_names(trading.sleeves),
        capital=trading.capital,
        clock=clock,
        journal_writer=writer,
        simulated=find_source(source).adjusted_only,
        terms=terms,
    )


def _session(market: ReplayMarket) -> dict[str, Any]:
    first = to_datetime(market.future.timestamps[0]) if len(market.future) else None
    return session_body(market.source, market.snapshot.id, market.snapshot.last, first)
