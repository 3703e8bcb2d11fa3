"""Convert a vendor's stream of updates to closed bars: each once, in order, with gaps filled."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alphaloop.bars import Bar
from alphaloop.clock import Clock
from alphaloop.errors import DataError
from marketdata.connectors.stored_bars import stored_bars
from marketdata.source import Source

PERIODS = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "1w": timedelta(weeks=1),
}
# Maximum lead of a vendor's clock over ours; bars from further ahead are refused.
MAX_CLOCK_SKEW = timedelta(seconds=60)

# Return bars of a symbol with `start < timestamp <= end`, as far as history has them.
GapFill = Callable[[str, datetime, datetime], Awaitable[Sequence[Bar]]]

log = logging.getLogger(__name__)


def period_of(frequency: str) -> timedelta:
    """Return the length of a bar; `DataError` lists the known frequencies."""
    if frequency not in PERIODS:
        raise DataError(f"no frequency '{frequency}'; there are: {', '.join(PERIODS)}")
    return PERIODS[frequency]


@dataclass(frozen=True, slots=True)
class BarUpdate:
    """A vendor's report on one bar; `start` is the beginning of its period, aware.

    `final` marks a bar that the vendor calls closed; if a vendor never does, the next period closes the bar.
    """

    symbol: str
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    final: bool


def always_open(start: datetime, end: datetime) -> bool:
    """Return True: the `expects` of a market that never closes."""
    return True


class ClosedBars:
    """Convert updates to closed bars, stamped with their close, with `provider` set to `source`.

    Every bar that closes after `since` (default: now) is returned. A bar closes when the vendor says so, when
    an update of a later period arrives, or, through `overdue`, `grace` after its period by the clock. Where
    bars are missing before an update, `fill` is asked for them first; `expects(start, end)` returns False if
    no bar could have closed in between (a session's night holds none). If `fill` raises, the state is
    unchanged, and the next update asks again.

    `counts` has the number of dropped updates by reason: `duplicate`, `correction` (a closed bar repeated
    with other values), `late` (older than that), `refused` (impossible); and of `gap`s, with the number of
    bars `filled`.
    """

    def __init__(
        self,
        source: str,
        period: timedelta,
        fill: GapFill,
        clock: Clock,
        *,
        since: datetime | None = None,
        grace: timedelta = timedelta(seconds=3),
        expects: Callable[[datetime, datetime], bool] = always_open,
        counts: Counter[str] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._source, self._period, self._fill, self._clock = source, period, fill, clock
        self._since = since or clock.now()
        self._grace, self._expects = grace, expects
        self._last: dict[str, Bar] = {}
        self._open: dict[str, BarUpdate] = {}
        self._doubted: set[str] = set()
        self._kinds: set[str] = set()
        self._lock = asyncio.Lock()

    def closed_until(self, symbol: str) -> datetime:
        """Return the close of the symbol's last bar, or the beginning of the stream."""
        return self._last[symbol].timestamp if symbol in self._last else self._since

    async def add(self, update: BarUpdate) -> list[Bar]:
        """Return the bars closed by this update, with earlier gaps filled. Raises errors of `fill`."""
        async with self._lock:
            if not self._believable(update):
                return []
            symbol = update.symbol
            earlier = self._open.get(symbol)
            if earlier is not None and earlier.start > update.start:
                self.counts["late"] += 1
                return []
            begins = earlier is None or earlier.start < update.start
            closing = [earlier] if earlier is not None and begins else []
            closing += [update] if update.final else []
            # History may lag, so a gap is requested twice: when the period after it begins and when that
            # closes. Not at each update between: in a quiet market there is no bar to return.
            due = await self._with_gaps(symbol, closing, update.start) if closing or begins else []
            if update.final:
                self._open.pop(symbol, None)
            else:
                self._open[symbol] = update
            return self._commit(symbol, due)

    async def overdue(self, last_message: datetime | None = None, at: datetime | None = None) -> list[Bar]:
        """Return bars past their period by the clock without a later update: quiet symbols.

        Bars in doubt after a refused message or a dropped connection come from history. So does a bar if
        nothing arrived on the connection after the grace (`last_message` is the time of its last message):
        the connection may be dead and the end of the bar lost. Such a bar is given the grace twice. `at` is
        the time up to which all updates have been added, if that is not now.
        """
        async with self._lock:
            now = at or self._clock.now()
            limit = now - self._grace
            due: dict[str, list[Bar]] = {}
            for symbol, update in list(self._open.items()):
                end = update.start + self._period
                if end <= limit and (last_message is None or last_message >= end + self._grace):
                    due[symbol] = await self._with_gaps(symbol, [update], update.start)
                elif end + self._grace <= limit:
                    self._doubted.add(symbol)
            for symbol in sorted(self._doubted - due.keys()):
                last = self.closed_until(symbol)
                if last + self._period <= limit:
                    due[symbol] = await self._filled(symbol, last, now)
            for symbol in due:
                self._open.pop(symbol, None)
                self._doubted.discard(symbol)
            return [bar for symbol, bars in due.items() for bar in self._commit(symbol, bars)]

    def interrupt(self) -> None:
        """Note a dropped connection: open bars may be incomplete and must come from history."""
        self._doubted.update(self._open)
        self._open.clear()

    async def resume(self, symbol: str) -> list[Bar]:
        """Return the bars of `symbol` closed during an interruption. Call after reconnecting."""
        async with self._lock:
            last, now = self.closed_until(symbol), self._clock.now()
            if last + self._period > now:
                return []
            bars = await self._filled(symbol, last, now)
            self._doubted.discard(symbol)
            return self._commit(symbol, bars)

    def refuse(self, kind: str, detail: str, symbol: str | None = None) -> None:
        """Count a message that is not believed; the first of each kind is logged.

        The message may have been the last update of the open bar of `symbol`, or of any symbol if it is None:
        unless a later update of the same period arrives, that bar is taken from history.
        """
        self.counts["refused"] += 1
        for doubted in [symbol] if symbol else list(self._open):
            if self._open.pop(doubted, None):
                self._doubted.add(doubted)
        if kind not in self._kinds:
            self._kinds.add(kind)
            log.warning("%s: skipped a message (%s): %.200s", self._source, kind, detail)

    def _believable(self, update: BarUpdate) -> bool:
        close = update.start + self._period
        if update.start.second or update.start.microsecond:
            self.refuse(
                "a period that begins within a minute", f"{update.symbol} {update.start}", update.symbol
            )
            return False
        opened = close if update.final else update.start
        if opened > self._clock.now() + MAX_CLOCK_SKEW:
            self.refuse("a bar of the future", f"{update.symbol} {update.start}", update.symbol)
            return False
        last = self._last.get(update.symbol)
        if last is not None and close == last.timestamp:
            values = (update.open, update.high, update.low, update.close, update.volume)
            same = values == (last.open, last.high, last.low, last.close, last.volume)
            self.counts["duplicate" if same else "correction"] += 1
            return False
        if close <= self.closed_until(update.symbol):
            self.counts["late"] += 1
            return False
        return True

    def _bar(self, update: BarUpdate) -> Bar | None:
        try:
            return Bar(
                symbol=update.symbol,
                timestamp=update.start + self._period,
                close=update.close,
                open=update.open,
                high=update.high,
                low=update.low,
                volume=update.volume,
                provider=self._source,
            )
        except (TypeError, ValueError) as error:
            self.refuse("an impossible bar", str(error), update.symbol)
            return None

    async def _with_gaps(self, symbol: str, closing: list[BarUpdate], start: datetime) -> list[Bar]:
        """Return the bars of `closing` with gaps filled before each, and before `start`."""
        due: list[Bar] = []
        last = self.closed_until(symbol)
        for update in closing:
            bar = self._bar(update)
            if bar is not None:
                due += [*await self._filled(symbol, last, update.start), bar]
                last = bar.timestamp
        return due + await self._filled(symbol, last, start)

    async def _filled(self, symbol: str, last: datetime, end: datetime) -> list[Bar]:
        if end <= last or not self._expects(last, end):
            return []
        bars = {bar.timestamp: bar for bar in await self._fill(symbol, last, end)}
        missed = [bars[moment] for moment in sorted(bars) if last < moment <= end]
        self.counts["gap"] += 1
        self.counts["filled"] += len(missed)
        return missed

    def _commit(self, symbol: str, due: list[Bar]) -> list[Bar]:
        if due:
            self._last[symbol] = due[-1]
        return due


def history_fill(source: Source, frequency: str) -> GapFill:
    """Return a `GapFill` that calls the source's own `history`.

    The call runs in a thread so that the stream continues.
    """

    async def fill(symbol: str, start: datetime, end: datetime) -> Sequence[Bar]:
        table = await asyncio.to_thread(source.history, (symbol,), start, end, frequency)
        return list(stored_bars(table, source.name))

    return fill
