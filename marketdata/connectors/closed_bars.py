"""From what a vendor's stream says to closed bars: each once, in order, with nothing missing."""

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
# How far ahead of this machine's clock a vendor's may be before its bars are taken for nonsense.
SKEW = timedelta(seconds=60)

# Bars of a symbol with `start < timestamp <= end`, as far as history has them.
Fill = Callable[[str, datetime, datetime], Awaitable[Sequence[Bar]]]

log = logging.getLogger(__name__)


def period_of(frequency: str) -> timedelta:
    """The length of a bar; `DataError` lists the frequencies there are."""
    if frequency not in PERIODS:
        raise DataError(f"no frequency '{frequency}'; there are: {', '.join(PERIODS)}")
    return PERIODS[frequency]


@dataclass(frozen=True, slots=True)
class Update:
    """What a vendor says of one bar: `start` is the beginning of its period, aware.

    `final` marks a bar that the vendor calls closed; where it never does, the next period closes it.
    """

    symbol: str
    start: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    final: bool


def always(start: datetime, end: datetime) -> bool:
    """The `expects` of a market that never sleeps."""
    return True


class ClosedBars:
    """Turns updates into closed bars, stamped with their close, with `provider` set to `source`.

    Gives every bar that closes after `since` (now, unless told). A bar closes when the vendor says so,
    when an update of a later period comes, or, by `overdue`, `grace` after its period by the clock. Where
    bars are missing before an update, `fill` is asked for them first; `expects(start, end)` says whether
    bars could have closed in between at all (a session's night holds none). If `fill` raises, nothing
    has changed, and the next update asks again.

    `counts` says how many were dropped and why: `duplicate`, `correction` (a closed bar told again with
    other values), `late` (older than that), `refused` (impossible); and of `gap`s how many bars were
    `filled`.
    """

    def __init__(
        self,
        source: str,
        period: timedelta,
        fill: Fill,
        clock: Clock,
        *,
        since: datetime | None = None,
        grace: timedelta = timedelta(seconds=3),
        expects: Callable[[datetime, datetime], bool] = always,
        counts: Counter[str] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._source, self._period, self._fill, self._clock = source, period, fill, clock
        self._since = since or clock.now()
        self._grace, self._expects = grace, expects
        self._last: dict[str, Bar] = {}
        self._open: dict[str, Update] = {}
        self._doubted: set[str] = set()
        self._kinds: set[str] = set()
        self._lock = asyncio.Lock()

    def closed_until(self, symbol: str) -> datetime:
        """The close of the symbol's last bar, or the beginning of the stream."""
        return self._last[symbol].timestamp if symbol in self._last else self._since

    async def add(self, update: Update) -> list[Bar]:
        """The bars that this update closes, those before it filled in. Raises what `fill` raises."""
        async with self._lock:
            if not self._believable(update):
                return []
            symbol = update.symbol
            earlier = self._open.get(symbol)
            if earlier is not None and earlier.start > update.start:
                self.counts["late"] += 1
                return []
            begins = earlier is None or earlier.start < update.start
            told = [earlier] if earlier is not None and begins else []
            told += [update] if update.final else []
            # History may be a moment behind, so a gap is asked for twice: when the period after it
            # begins and when that closes. Not at each update between: a quiet market has no bar to give.
            due = await self._with_gaps(symbol, told, update.start) if told or begins else []
            if update.final:
                self._open.pop(symbol, None)
            else:
                self._open[symbol] = update
            return self._commit(symbol, due)

    async def overdue(self, heard: datetime | None = None, at: datetime | None = None) -> list[Bar]:
        """Bars whose period is over by the clock although no later update came: the quiet symbols.

        Bars that are in doubt after a refused message or a dropped connection come from history, and so
        does a bar if nothing of anybody was `heard` on the connection after the grace: it may be dead,
        and the end of the bar never told. It is given that grace twice to speak. `at` is the time up to
        which all updates have been added, where that is not now.
        """
        async with self._lock:
            now = at or self._clock.now()
            limit = now - self._grace
            due: dict[str, list[Bar]] = {}
            for symbol, update in list(self._open.items()):
                end = update.start + self._period
                if end <= limit and (heard is None or heard >= end + self._grace):
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
        """The connection dropped: bars that were open lack what was missed, so history must give them."""
        self._doubted.update(self._open)
        self._open.clear()

    async def resume(self, symbol: str) -> list[Bar]:
        """What closed of `symbol` while there was no connection, from history. Call after reconnecting."""
        async with self._lock:
            last, now = self.closed_until(symbol), self._clock.now()
            if last + self._period > now:
                return []
            found = await self._filled(symbol, last, now)
            self._doubted.discard(symbol)
            return self._commit(symbol, found)

    def refuse(self, kind: str, detail: str, symbol: str | None = None) -> None:
        """Count a message that is not believed; the first of each kind is logged.

        It may have been the last word on the open bar of `symbol`, or of any where that is not known:
        unless a later update of the same period comes, that bar is taken from history.
        """
        self.counts["refused"] += 1
        for doubted in [symbol] if symbol else list(self._open):
            if self._open.pop(doubted, None):
                self._doubted.add(doubted)
        if kind not in self._kinds:
            self._kinds.add(kind)
            log.warning("%s: skipped a message (%s): %.200s", self._source, kind, detail)

    def _believable(self, update: Update) -> bool:
        close = update.start + self._period
        if update.start.second or update.start.microsecond:
            self.refuse(
                "a period that begins within a minute", f"{update.symbol} {update.start}", update.symbol
            )
            return False
        opened = close if update.final else update.start
        if opened > self._clock.now() + SKEW:
            self.refuse("a bar of the future", f"{update.symbol} {update.start}", update.symbol)
            return False
        last = self._last.get(update.symbol)
        if last is not None and close == last.timestamp:
            told = (update.open, update.high, update.low, update.close, update.volume)
            same = told == (last.open, last.high, last.low, last.close, last.volume)
            self.counts["duplicate" if same else "correction"] += 1
            return False
        if close <= self.closed_until(update.symbol):
            self.counts["late"] += 1
            return False
        return True

    def _bar(self, update: Update) -> Bar | None:
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

    async def _with_gaps(self, symbol: str, told: list[Update], start: datetime) -> list[Bar]:
        """The bars of `told` with what is missing before each, and before the period begun at `start`."""
        due: list[Bar] = []
        last = self.closed_until(symbol)
        for update in told:
            bar = self._bar(update)
            if bar is not None:
                due += [*await self._filled(symbol, last, update.start), bar]
                last = bar.timestamp
        return due + await self._filled(symbol, last, start)

    async def _filled(self, symbol: str, last: datetime, end: datetime) -> list[Bar]:
        if end <= last or not self._expects(last, end):
            return []
        bars = {bar.timestamp: bar for bar in await self._fill(symbol, last, end)}
        found = [bars[moment] for moment in sorted(bars) if last < moment <= end]
        self.counts["gap"] += 1
        self.counts["filled"] += len(found)
        return found

    def _commit(self, symbol: str, due: list[Bar]) -> list[Bar]:
        if due:
            self._last[symbol] = due[-1]
        return due


def history_fill(source: Source, frequency: str) -> Fill:
    """A `Fill` that asks the source's own `history`, in a thread so that the stream is not held up."""

    async def fill(symbol: str, start: datetime, end: datetime) -> Sequence[Bar]:
        table = await asyncio.to_thread(source.history, (symbol,), start, end, frequency)
        return list(stored_bars(table, source.name))

    return fill
