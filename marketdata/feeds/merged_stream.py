"""One running stream merged from the streams of several providers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from alphaloop.bars import Bar
from alphaloop.clock import Clock, monotonic
from alphaloop.errors import AlphaloopError, InputError, VendorError
from alphaloop.runtime.circuit_breaker import CircuitBreaker
from marketdata.connectors.stored_bars import stored_bars
from marketdata.feeds.arbitration import FeedArbiter, ProviderSwitch, SettledBar
from marketdata.feeds.failover_policy import FailoverPolicy
from marketdata.feeds.freshness import FeedStatus, FreshnessMonitor
from marketdata.source import LiveSource

History = Callable[[Sequence[str], datetime | None, datetime | None, str], pa.Table]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STOP_SECONDS = 10.0

log = logging.getLogger(__name__)


class MergedStream:
    """Runs every provider's stream, decides each bar by arbitration, and fills gaps from `history`.

    A stream that fails is reopened after a growing pause, once the provider's breaker allows it. A bar that
    cannot belong to this stream (a symbol not requested, a close off the grid of bars or in the future) is
    counted, logged once a kind and skipped.
    """

    def __init__(
        self,
        providers: Sequence[LiveSource],
        symbols: tuple[str, ...],
        frequency: str,
        *,
        policy: FailoverPolicy,
        breakers: Mapping[str, CircuitBreaker],
        clock: Clock,
        history: History,
        counts: Counter[str],
        on_switch: Callable[[ProviderSwitch], None],
    ) -> None:
        self._period = policy.length(frequency)
        self._providers = {provider.name: provider for provider in providers}
        self._symbols, self._wanted = symbols, frozenset(symbols)
        self._frequency, self._policy = frequency, policy
        self._breakers, self._history, self._on_switch = breakers, history, on_switch
        self._counts, self._kinds = counts, set[str]()
        self._election = FeedArbiter(
            tuple(self._providers), policy.deadline, policy.healthy, policy.consensus
        )
        self._election.counts = counts
        self._limit = self._period * policy.stale_bars
        self._freshness = {
            name: FreshnessMonitor(name, self._limit, policy.skew, clock) for name in self._providers
        }
        self._queue: asyncio.Queue[tuple[str, Bar | BaseException | None]] = asyncio.Queue()
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._failures: Counter[str] = Counter()
        self._finished: dict[str, AlphaloopError | None] = {}
        self._reported = 0

    @property
    def active(self) -> str:
        """The provider in use."""
        return self._election.active

    @property
    def stale(self) -> bool:
        """True if every provider has been silent for too long."""
        return all(freshness.stale for freshness in self._freshness.values())

    def readings(self) -> list[FeedStatus]:
        """Return the state of each provider."""
        return [freshness.reading() for freshness in self._freshness.values()]

    async def bars(self) -> AsyncGenerator[Bar, None]:
        """Yield the decided bars, gaps filled; each symbol's in order and each once."""
        for name in self._providers:
            self._start(name, failures=0)
        try:
            while len(self._finished) < len(self._providers):
                await self._receive()
                for bar in await self._settled(finish=False):
                    yield bar
                self._require_one()
                self._reopen_frozen()
            for bar in await self._settled(finish=True):
                yield bar
            self._raise_if_none_ended_well()
        finally:
            await self._stop()

    async def _receive(self) -> None:
        """Take the bars in the queue, waiting until there is something to do."""
        due = self._election.next_deadline()
        timeout = self._limit.total_seconds() if due is None else max(due - monotonic(), 0.0)
        try:
            async with asyncio.timeout(timeout):
                self._take(*await self._queue.get())
        except TimeoutError:
            if due is None and self.stale:
                self._refuse("stale", f"no provider told anything for {self._limit}")
            return
        while not self._queue.empty():
            self._take(*self._queue.get_nowait())

    def _take(self, name: str, message: Bar | BaseException | None) -> None:
        if isinstance(message, Bar):
            if self._believable(name, message):
                self._failures[name] = 0
                self._kinds.discard("stale")
                self._election.offer(name, replace(message, provider=name), monotonic())
            return
        self._election.mark_down(name)
        if isinstance(message, VendorError):
            self._failures[name] += 1
            self._counts["failures"] += 1
            log.warning("the stream of %s failed: %s", name, message)
        elif message is None or isinstance(message, InputError):
            self._finished[name] = message
        else:
            raise message

    async def _settled(self, *, finish: bool) -> list[Bar]:
        settled = self._election.settle(monotonic(), finish=finish)
        for switch in self._election.switches[self._reported :]:
            self._on_switch(switch)
        self._reported = len(self._election.switches)
        bars = await self._missing(settled) + [decided.bar for decided in settled]
        return sorted(bars, key=lambda bar: bar.timestamp)

    async def _missing(self, settled: Sequence[SettledBar]) -> list[Bar]:
        """Return the bars between the decided ones and their predecessors, from history."""
        gaps = [
            (decided.bar.symbol, decided.previous, decided.bar.timestamp)
            for decided in settled
            if decided.previous is not None
            and decided.bar.timestamp - decided.previous > self._period
            and self._policy.expects(decided.previous, decided.bar.timestamp - self._period)
        ]
        if not gaps:
            return []
        self._counts["gap"] += len(gaps)
        symbols = sorted({symbol for symbol, _, _ in gaps})
        start, end = min(gap[1] for gap in gaps), max(gap[2] for gap in gaps)
        try:
            table = await asyncio.to_thread(self._history, symbols, start, end, self._frequency)
            known = [bar for bar in stored_bars(table, "") if self._on_grid(bar)]
        except (VendorError, InputError) as error:
            # The stream continues: a logged gap is better than a stalled feed.
            self._counts["unfilled"] += len(gaps)
            log.warning("bars of %s after %s could not be filled in: %s", ", ".join(symbols), start, error)
            return []
        missed = {
            (bar.symbol, bar.timestamp): bar
            for bar in known
            for symbol, after, before in gaps
            if bar.symbol == symbol and after < bar.timestamp < before
        }
        self._counts["filled"] += len(missed)
        return list(missed.values())

    def _believable(self, name: str, bar: Bar) -> bool:
        if bar.symbol not in self._wanted:
            return self._refuse(f"{name}: a symbol that was not asked for", bar.symbol)
        if not self._on_grid(bar):
            return self._refuse(f"{name}: a close between bars", f"{bar.symbol} {bar.timestamp.isoformat()}")
        if not self._freshness[name].record(bar):
            return self._refuse(f"{name}: a bar of the future", f"{bar.symbol} {bar.timestamp.isoformat()}")
        return True

    def _on_grid(self, bar: Bar) -> bool:
        """Return True if bars can close then: sessions may begin off the hour, but at a minute."""
        return not (bar.timestamp - EPOCH) % min(self._period, MINUTE)

    def _refuse(self, kind: str, detail: str) -> bool:
        self._counts["refused" if ":" in kind else kind] += 1
        if kind not in self._kinds:
            self._kinds.add(kind)
            log.warning("%s (%.200s)", kind, detail)
        return False

    def _require_one(self) -> None:
        """Raise once every provider still running has failed repeatedly without a bar."""
        limit = self._policy.retry.attempts
        trying = [name for name in self._providers if name not in self._finished]
        if trying and all(self._failures[name] >= limit for name in trying):
            raise VendorError(f"every provider failed {limit} times in a row: {', '.join(self._providers)}")

    def _raise_if_none_ended_well(self) -> None:
        if None not in self._finished.values():
            raise next(error for error in self._finished.values() if error is not None)

    def _reopen_frozen(self) -> None:
        """Reopen silent streams while others continue: their connection may be half dead."""
        latest = [at for name in self._providers if (at := self._election.latest(name)) is not None]
        if not latest:
            return
        for name, pump in self._pumps.items():
            silent = self._freshness[name].stale and not pump.done()
            behind = (self._election.latest(name) or EPOCH) + self._limit
            if silent and behind < max(latest):
                self._election.mark_down(name)
                self._counts["reopened"] += 1
                self._breakers[name].failed()
                pump.cancel()
                self._stopping.add(pump)
                self._start(name, failures=1)

    def _start(self, name: str, failures: int) -> None:
        self._freshness[name].restart()
        task = asyncio.create_task(self._pump(name, failures), name=f"stream of {name}")
        task.add_done_callback(lambda done: self._ended(name, done))
        self._pumps[name] = task

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        """Raise a pump's unexpected error where the stream is read; a normal end needs no action."""
        self._stopping.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._queue.put_nowait((name, error))

    async def _pump(self, name: str, failures: int) -> None:
        """Queue the bars of one provider, reopening its stream after each failure."""
        breaker, retry = self._breakers[name], self._policy.retry
        while True:
            if failures:
                await retry.pause(failures)
            while not breaker.allows():
                await retry.async_sleep(retry.base)
            try:
                first = True
                async for bar in self._providers[name].stream(self._symbols, self._frequency):
                    if first:
                        breaker.succeeded()
                        first, failures = False, 0
                    self._queue.put_nowait((name, bar))
                self._queue.put_nowait((name, None))
                return
            except VendorError as error:
                failures += 1
                breaker.failed()
                self._queue.put_nowait((name, error))
            except InputError as error:
                self._queue.put_nowait((name, error))
                return

    async def _stop(self) -> None:
        tasks = {*self._pumps.values(), *self._stopping}
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        for task in left:
            log.warning("%s did not end within %g s", task.get_name(), STOP_SECONDS)
