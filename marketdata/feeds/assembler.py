"""Assemble bars of many symbols, as they arrive, into slices, one timestamp after the other."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from datetime import datetime, timedelta
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from alphaloop.bars import Bar, Slice
from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import InputError
from marketdata.source import LiveSource

COLUMNS = ("open", "high", "low", "close", "volume", "adjustment")
STOP_SECONDS = 10.0

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


class SliceAssembler:
    """Combines the bars of `source` into slices of `symbols`, in this order.

    A slice is emitted as soon as every symbol has sent its timestamp or a later one, or `grace` after its
    first bar arrived; a symbol without a bar by then is NaN. A bar that arrives after its slice is counted in
    `counts["late"]` and logged. `annotate` adds further columns to each slice. `InputError` for no symbols or
    duplicates.
    """

    def __init__(
        self,
        source: LiveSource,
        symbols: Sequence[str],
        frequency: str = "1m",
        *,
        grace: timedelta = timedelta(seconds=5),
        clock: Clock | None = None,
        annotate: Callable[[Slice], Slice] | None = None,
    ) -> None:
        if not symbols or len(set(symbols)) < len(symbols):
            raise InputError(f"an assembler needs different symbols; it was given {list(symbols)}")
        self.counts: Counter[str] = Counter()
        self._source, self._symbols, self._frequency = source, tuple(symbols), frequency
        self._wanted = frozenset(symbols)
        self._grace, self._clock = grace, clock or SystemClock()
        self._annotate = annotate
        self._open: dict[datetime, dict[str, Bar]] = {}
        self._due: dict[datetime, datetime] = {}
        self._latest: dict[str, datetime] = {}
        self._last: datetime | None = None

    async def slices(self) -> AsyncGenerator[Slice, None]:
        """Yield slices as they become complete, until the source ends; raises errors of its stream."""
        stream = self._source.stream(self._symbols, self._frequency)
        arriving: asyncio.Task[Bar | None] | None = None
        try:
            while True:
                for done in self._complete():
                    yield done
                # The pending read is kept across rounds: cancelling it would end the stream.
                arriving = arriving or asyncio.create_task(_next(stream))
                await asyncio.wait({arriving}, timeout=self._seconds_until_due())
                if arriving.done():
                    bar, arriving = arriving.result(), None
                    if bar is None:
                        break
                    self._add(bar)
        finally:
            if arriving is not None:
                arriving.cancel()
                await asyncio.wait({arriving})
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        for at in sorted(self._open):
            yield self._slice(at)

    def _add(self, bar: Bar) -> None:
        if bar.symbol not in self._wanted:
            self.counts["stray"] += 1
            return
        if self._last is not None and bar.timestamp <= self._last:
            self.counts["late"] += 1
            log.warning("%s at %s came after its slice had gone out", bar.symbol, bar.timestamp.isoformat())
            return
        now = self._clock.now()
        self._due.setdefault(bar.timestamp, max(now, bar.timestamp) + self._grace)
        self._open.setdefault(bar.timestamp, {})[bar.symbol] = bar
        self._latest[bar.symbol] = max(bar.timestamp, self._latest.get(bar.symbol, bar.timestamp))

    def _complete(self) -> Iterator[Slice]:
        """Yield the slices that need not wait any longer, in order."""
        for at in sorted(self._open):
            complete = len(self._latest) == len(self._symbols) and min(self._latest.values()) >= at
            if not complete and self._clock.now() < self._due[at]:
                return
            yield self._slice(at)

    def _seconds_until_due(self) -> float | None:
        """Return the seconds until the first open slice is due; None where none is open."""
        if not self._open:
            return None
        return max((self._due[min(self._open)] - self._clock.now()).total_seconds(), 0.001)

    def _slice(self, at: datetime) -> Slice:
        bars = self._open.pop(at)
        del self._due[at]
        self._last = at
        self.counts["slices"] += 1
        self.counts["absent"] += len(self._symbols) - len(bars)
        assembled = assemble_slice(at, self._symbols, bars)
        return assembled if self._annotate is None else self._annotate(assembled)


def assemble_slice(at: datetime, symbols: tuple[str, ...], bars: Mapping[str, Bar]) -> Slice:
    """Combine the bars of one timestamp into a slice of `symbols`.

    A symbol without a bar has NaN and an empty provider.
    """
    values = np.full((len(COLUMNS), len(symbols)), np.nan)
    for column, symbol in enumerate(symbols):
        if symbol in bars:
            row = (getattr(bars[symbol], name) for name in COLUMNS)
            values[:, column] = [np.nan if value is None else value for value in row]
    columns: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    providers = tuple(bars[symbol].provider if symbol in bars else "" for symbol in symbols)
    return Slice(
        timestamp=at,
        symbols=symbols,
        **columns,
        providers=providers if any(providers) else (),
        disputed=tuple(symbol for symbol in symbols if symbol in bars and bars[symbol].disputed),
    )


class LiveSlices(Iterator[Slice]):
    """An assembler's slices for synchronous code: `for bars in LiveSlices(assembler): …`.

    The source runs on an event loop in a thread of its own, so its connection is maintained while a slice is
    processed; the next slice is started only on request. Use it as a context manager, or `close` it: the
    stream is closed, the loop stopped and the thread joined, even during a read.
    """

    def __init__(self, assembler: SliceAssembler) -> None:
        self._loop = asyncio.new_event_loop()
        self._slices = assembler.slices()
        self._waiting: asyncio.Task[Slice | None] | None = None
        self._thread = Thread(target=self._run, name="live-slices", daemon=True)
        self._thread.start()

    def __next__(self) -> Slice:
        if not self._thread.is_alive():
            raise StopIteration
        future = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
        try:
            bars = future.result()
        except CancelledError:
            # Another thread closed the iterator during this read.
            raise StopIteration from None
        except BaseException:
            future.cancel()
            self.close()
            raise
        if bars is None:
            self.close()
            raise StopIteration
        return bars

    def close(self) -> None:
        """End the stream and the thread; a second call does nothing."""
        if not self._thread.is_alive():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            log.warning("the thread of the live slices did not end within %g s", STOP_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    async def _next(self) -> Slice | None:
        self._waiting = asyncio.current_task()
        return await _next(self._slices)

    async def _end(self) -> None:
        # A pending read holds the generator, which can be closed only without one.
        if self._waiting is not None and not self._waiting.done():
            self._waiting.cancel()
            await asyncio.wait({self._waiting}, timeout=STOP_SECONDS)
        await self._slices.aclose()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=STOP_SECONDS)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


async def _next(stream: AsyncIterator[Answer]) -> Answer | None:
    """Return the next item of `stream`, None after its last."""
    return await anext(stream, None)
