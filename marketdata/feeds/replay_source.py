"""Replay: a stored period as a live source, indistinguishable from the venue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from alphaloop.bars import Bar
from alphaloop.clock import ReplayClock, monotonic
from alphaloop.errors import InputError
from marketdata.connectors.stored_bars import stored_bars
from marketdata.source import CalendarName, Source, identity_of, require_symbols, select_bars
from marketdata.storage.snapshots import SnapshotStore

AS_FAST_AS_POSSIBLE = math.inf


class ReplaySource:
    """Replays the bars of `table` as if they closed now, at `speed` times the original pace.

    `clock` is set to each bar's close before the bar is sent, and never beyond, so every holder of the clock
    lives in the replayed time; the stream begins after the clock's initial time. `history` returns nothing
    later than the clock. Bars keep their stored provider; others have `name`'s. `frequency` is the length of
    the bars, and no other is available. `InputError` for a speed that is not positive or a table without
    rows.
    """

    adjusted_only: bool
    calendar: CalendarName
    identity: str

    def __init__(
        self,
        table: pa.Table,
        clock: ReplayClock,
        *,
        name: str = "replay",
        identity: str = "",
        frequency: str = "1d",
        speed: float = AS_FAST_AS_POSSIBLE,
        calendar: CalendarName = "24/7",
        adjusted_only: bool = False,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not speed > 0:
            raise InputError(f"speed is {speed}; 1 is as it was, 60 a minute a second, math.inf at once")
        if table.num_rows == 0:
            raise InputError(f"there is nothing to replay: the table of '{name}' has no rows")
        self.name, self.calendar, self.adjusted_only = name, calendar, adjusted_only
        self.identity = identity or name
        self._table = table.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
        self._clock, self._frequency, self._speed, self._sleep = clock, frequency, speed, sleep

    @classmethod
    def of_snapshot(
        cls,
        store: SnapshotStore,
        snapshot_id: str,
        clock: ReplayClock,
        *,
        frequency: str = "1d",
        speed: float = AS_FAST_AS_POSSIBLE,
        calendar: CalendarName = "24/7",
    ) -> ReplaySource:
        """Replay the bars of a snapshot, under the name of their source."""
        return cls(
            store.load(snapshot_id),
            clock,
            name=store.describe(snapshot_id).source,
            frequency=frequency,
            speed=speed,
            calendar=calendar,
        )

    @classmethod
    def of_source(
        cls,
        source: Source,
        symbols: Sequence[str],
        clock: ReplayClock,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
        speed: float = AS_FAST_AS_POSSIBLE,
    ) -> ReplaySource:
        """Replay the history of a source, under its name and by its calendar."""
        return cls(
            source.history(symbols, start, end, frequency),
            clock,
            name=source.name,
            identity=identity_of(source),
            frequency=frequency,
            speed=speed,
            calendar=source.calendar,
            adjusted_only=source.adjusted_only,
        )

    @property
    def description(self) -> str:
        """The replayed period."""
        times = pc.min_max(self._table["timestamp"].cast(pa.timestamp("us", tz="UTC"), safe=False)).as_py()
        return f"a replay of '{self.name}' from {times['min'].isoformat()} to {times['max'].isoformat()}"

    def symbols(self) -> tuple[str, ...]:
        """Return every symbol of the table, sorted."""
        return tuple(sorted(pc.unique(self._table["symbol"]).to_pylist()))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return the bars that have closed by the replayed time; the future is unknown here too."""
        self._require(frequency)
        now = self._clock.now()
        return select_bars(self._table, require_symbols(self, symbols), start, min(end, now) if end else now)

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncGenerator[Bar, None]:
        """Yield the bars after the clock, each when it closes by the replayed time."""
        self._require(frequency)
        began, origin = self._clock.now(), monotonic()
        rows = select_bars(self._table, require_symbols(self, symbols), began)
        for bar in stored_bars(rows, self.name):
            if bar.timestamp <= began:
                continue
            # Waits are measured from the beginning, so a consumer's processing time does not accumulate.
            due = origin + (bar.timestamp - began).total_seconds() / self._speed
            # Sleep even for zero seconds: other tasks of this loop get a turn between two bars.
            await self._sleep(max(due - monotonic(), 0.0))
            if bar.timestamp > self._clock.now():
                self._clock.advance(bar.timestamp)
            yield bar

    def _require(self, frequency: str) -> None:
        if frequency != self._frequency:
            raise InputError(f"the replay of '{self.name}' has bars of {self._frequency}, not {frequency}")
