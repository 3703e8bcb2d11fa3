"""Replay: a stored period as a live source that cannot be told from the venue."""

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
from marketdata.source import CalendarName, Source, identity_of, require_symbols, select
from marketdata.storage.snapshots import SnapshotStore

AS_FAST_AS_POSSIBLE = math.inf


class ReplaySource:
    """Gives the bars of `table` as if they closed now, `speed` times as fast as they did.

    `clock` is put to each bar's close before the bar is given, and never beyond, so whoever holds it lives
    in the replayed time; the stream begins after the moment at which the clock stands. `history` tells
    nothing that lies after the clock. Bars keep the provider that they were stored with; others have
    `name`'s. `frequency` is what the bars are, and no other can be had. `InputError` for a speed that is
    not positive or a table without rows.
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
        """The bars of a snapshot, under the name of the source that they were stored from."""
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
        """The history of a source, under its name and by its calendar."""
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
        """What is replayed."""
        times = pc.min_max(self._table["timestamp"].cast(pa.timestamp("us", tz="UTC"), safe=False)).as_py()
        return f"a replay of '{self.name}' from {times['min'].isoformat()} to {times['max'].isoformat()}"

    def symbols(self) -> tuple[str, ...]:
        """Every symbol of the table, sorted."""
        return tuple(sorted(pc.unique(self._table["symbol"]).to_pylist()))

    def history(
        self,
        symbols: Sequence[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """The bars that have closed by the replayed time; the future is not known here either."""
        self._require(frequency)
        now = self._clock.now()
        return select(self._table, require_symbols(self, symbols), start, min(end, now) if end else now)

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncGenerator[Bar, None]:
        """The bars after the clock, each when it closes by the replayed time; ends after the last."""
        self._require(frequency)
        began, origin = self._clock.now(), monotonic()
        rows = select(self._table, require_symbols(self, symbols), began)
        for bar in stored_bars(rows, self.name):
            if bar.timestamp <= began:
                continue
            # Waits are measured from the beginning, so the time that a consumer takes adds up to no delay.
            due = origin + (bar.timestamp - began).total_seconds() / self._speed
            # Also at no distance: whoever else runs on this loop has a turn between two bars.
            await self._sleep(max(due - monotonic(), 0.0))
            if bar.timestamp > self._clock.now():
                self._clock.advance(bar.timestamp)
            yield bar

    def _require(self, frequency: str) -> None:
        if frequency != self._frequency:
            raise InputError(f"the replay of '{self.name}' has bars of {self._frequency}, not {frequency}")
