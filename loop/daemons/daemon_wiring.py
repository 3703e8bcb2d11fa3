"""Opening of the streamer's and the executor's daemons on the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime

from alphaloop.bars import Slice
from alphaloop.clock import ReplayClock, SystemClock
from alphaloop.errors import AlphaloopError, InputError
from alphaloop.journal.positions.source_heads import Pace
from alphaloop.journal.roles import RoleLease, control_role, executor_role
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import TRADING_STREAM
from alphaloop.settings.settings import Settings
from loop import workspace
from loop.daemons.bar_clock import BarClock
from loop.daemons.book_executor import BookExecutor
from loop.daemons.executor import BookAtBar, ExecutorDaemon
from loop.daemons.metered_forecaster import MeteredForecaster
from loop.daemons.streamed_bars import StreamedBars
from loop.daemons.streamer import LiveFeed, ReplayFeed, StreamerDaemon
from loop.market import TimeSpan, market_to_trade
from loop.turn import ReplayMarket
from loop.wiring import make_engine, open_streamer
from marketdata.configured_records import configured_records
from marketdata.configured_source import chosen_identity, newest_snapshot
from marketdata.feeds.assembler import LiveSlices, SliceAssembler
from marketdata.storage.snapshots import SnapshotStore
from models.registry.model_registry import Registry
from serving.client.client import PredictionClient
from trading.forecaster import ServedForecaster
from trading.progress import SESSION_KIND, TradingProgress, session_body
from trading.recovery import restore_engine

KEPT_LATENCIES = 10_000
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ReplaySpan:
    """The span and pace of a replay.

    Parameters
    ----------
    days : tuple of datetime, optional
        First and last time, in UTC; all bars of the source that are not stored yet by default.
    speed : float
        Multiple of the original pace; infinite for at once.
    pace : Pace
        `speed`, or `lockstep`.
    """

    days: TimeSpan | None
    speed: float
    pace: Pace


def followers_of(settings: Settings) -> tuple[str, ...]:
    """Return the parts that a replay in lockstep waits for: the executor, and control with its runner."""
    return executor_role(TRADING_STREAM), control_role(settings.serving.model)


@contextmanager
def opened_replay(
    settings: Settings, journal: Journal, registry: Registry, role: RoleLease, span: ReplaySpan, tell: Tell
) -> Iterator[StreamerDaemon]:
    """Open the streamer of a replay, from the bar after the last stored one on.

    Parameters
    ----------
    settings : Settings
        Source, feature set and stores.
    journal : Journal
        Journal with the head of the source.
    registry : Registry
        Registry whose rollouts say which features are needed.
    role : RoleLease
        The role `streamer/SOURCE`.
    span : ReplaySpan
        Bars to replay, and how.
    tell : callable
        Called with a line about what is waited for.

    Yields
    ------
    StreamerDaemon

    Raises
    ------
    InputError
        Where no bar is new, or where a first replay would begin before the end of the stored history.
    """
    market = _market(settings, journal, span.days)
    clock = ReplayClock(market.snapshot.last)
    feed = ReplayFeed(market.future.slices(), span.speed, span.pace)
    with open_streamer(settings, clock, registry, market) as streamer:
        yield StreamerDaemon(
            *(chosen_identity(settings), journal, role, streamer, feed),
            followers=followers_of(settings),
            tell=tell,
        )


@contextmanager
def opened_live(
    settings: Settings, journal: Journal, registry: Registry, role: RoleLease, frequency: str, tell: Tell
) -> Iterator[StreamerDaemon]:
    """Open the streamer of the settings' feed; bars that closed while nobody streamed come first.

    Parameters
    ----------
    settings : Settings
        Providers, feature set and stores.
    journal : Journal
        Journal with the head of the source.
    registry : Registry
        Registry whose rollouts say which features are needed.
    role : RoleLease
        The role `streamer/SOURCE`.
    frequency : str
        Length of a bar, as `1m`.
    tell : callable
        Called with a line about bars that could not be read.

    Yields
    ------
    StreamerDaemon

    Raises
    ------
    InputError
        For a source without a stream.
    """
    source, clock = workspace.live_source(settings, frequency), SystemClock()
    snapshot, past = workspace.latest_bars(settings)
    market = ReplayMarket(settings.data.source, past, past.part(0, 0), snapshot, resumed=True)
    records = configured_records(settings.data)
    assembler = SliceAssembler(source, past.symbols, frequency, clock=clock, annotate=records.annotate_slice)
    with open_streamer(settings, clock, registry, market) as streamer, LiveSlices(assembler) as slices:
        missed = _missed_bars(settings, market, tell)
        yield StreamerDaemon(
            chosen_identity(settings), journal, role, streamer, LiveFeed(missed, slices), tell=tell
        )


def _missed_bars(settings: Settings, market: ReplayMarket, tell: Tell) -> Iterator[Slice]:
    """Return the bars since the last stored one; none where the history cannot be read, which is said."""
    try:
        bars = workspace.extended_bars(settings, market.snapshot)
    except AlphaloopError as error:
        tell(f"bars since {market.snapshot.last.isoformat()} are not caught up with: {error}")
        return iter(())
    return bars.part(len(market.past), len(bars)).slices()


def _market(settings: Settings, journal: Journal, days: TimeSpan | None) -> ReplayMarket:
    """Split the market after the last stored bar, or where a first replay begins."""
    newest = newest_snapshot(settings)
    if newest is None or journal.heads.read(chosen_identity(settings)) is None:
        return market_to_trade(settings, days, None)
    return market_to_trade(settings, days, TradingProgress(newest.last, (newest.id,)))


@contextmanager
def opened_executor(
    settings: Settings, journal: Journal, registry: Registry, role: RoleLease, clock: BarClock, broker: str
) -> Iterator[ExecutorDaemon]:
    """Open the executor of the book `trading`; the book is restored before its first bar.

    Parameters
    ----------
    settings : Settings
        Section `trading`, the address of the server, and stores.
    journal : Journal
        Journal of the book.
    registry : Registry
        Registry of the served model.
    role : RoleLease
        The role `executor/trading`.
    clock : BarClock
        Clock that follows the bars.
    broker : str
        Name of the broker.

    Yields
    ------
    ExecutorDaemon
    """
    model = settings.serving.model

    def generation() -> int:
        document = registry.rollout(model)
        return document.generation if document else 0

    with ExitStack() as opened, PredictionClient.from_settings(settings) as client:

        def open_book() -> BookAtBar | None:
            opened.pop_all().close()
            bars = StreamedBars(
                chosen_identity(settings), journal.heads, SnapshotStore(settings.locations.snapshots)
            )
            head = bars.head()
            if head is None:
                return None
            forecaster = MeteredForecaster(
                ServedForecaster(client, settings.trading.prediction_deadline_ms), KEPT_LATENCIES
            )
            decision = journal.last(TRADING_STREAM, "decision")
            decided = datetime.fromisoformat(decision.body["as_of"]) if decision else None
            past = bars.past(decided)
            clock.follow(decided or head.bar, head.pace)
            writer = opened.enter_context(journal.writer(TRADING_STREAM, role))
            engine = make_engine(
                settings, past.symbols, settings.data.source, forecaster, clock, writer, broker=broker
            )
            if decided is None:
                if not len(past):
                    raise InputError(f"nothing is known before {head.bar.isoformat()}; store a history first")
                body = session_body(settings.data.source, head.snapshot, head.bar, None)
                writer.append(SESSION_KIND, body)
            restore_engine(engine, journal.records(TRADING_STREAM), past)
            return BookAtBar(BookExecutor(engine, forecaster, generation), bars)

        yield ExecutorDaemon(TRADING_STREAM, journal, open_book, clock)
