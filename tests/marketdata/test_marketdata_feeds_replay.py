"""Replay: what reads a stored period cannot tell it from the venue."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.bars import Bar, BarPanel, Slice, to_datetime
from alphaloop.clock import ReplayClock, monotonic
from alphaloop.errors import InputError, UnknownNameError
from marketdata.feeds.assembler import LiveSlices, SliceAssembler
from marketdata.feeds.replay_source import ReplaySource
from marketdata.sources.registry import find_source
from marketdata.storage.snapshots import SnapshotStore

SYMBOLS = ("AAPL", "KO", "XOM")


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    """Three months of three real symbols; KO has no bar on one day."""
    start, end = datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 3, 31, tzinfo=UTC)
    panel = BarPanel.from_table(find_source("sp500-20").history(SYMBOLS, start, end), SYMBOLS)
    panel.close[7, 1] = np.nan
    return panel.to_table()


def _before(table: pa.Table) -> ReplayClock:
    return ReplayClock(to_datetime(table["timestamp"].to_numpy().min()) - timedelta(days=1))


class Venue:
    """A venue on loopback: it sends the same bars as JSON lines over TCP, as they would come live."""

    name, description, calendar, adjusted_only = "sp500-20", "a venue", "XNYS", True

    def __init__(self, table: pa.Table, clock: ReplayClock) -> None:
        self._table, self._clock = table, clock

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    async def stream(self, symbols: Sequence[str], frequency: str = "1d") -> AsyncIterator[Bar]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for row in self._table.to_pylist():
                told = row | {"timestamp": row["timestamp"].isoformat()}
                writer.write(json.dumps(told).encode() + b"\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            while line := await reader.readline():
                row = json.loads(line)
                row["timestamp"] = datetime.fromisoformat(row["timestamp"])
                bar = Bar(**row, provider=self.name)
                if bar.timestamp > self._clock.now():
                    self._clock.advance(bar.timestamp)
                yield bar
            writer.close()


def _consume(source: object, clock: ReplayClock) -> Iterator[tuple]:
    """A consumer that knows a `LiveSource` and a clock, and writes down all that it can see."""
    assembler = SliceAssembler(source, SYMBOLS, "1d", grace=timedelta(hours=1), clock=clock)
    with LiveSlices(assembler) as live:
        for one in live:
            yield _plain(one), clock.now()


def _plain(one: Slice) -> tuple:
    names = ("open", "high", "low", "close", "volume", "adjustment")
    values = tuple(repr(getattr(one, name).tolist()) for name in names)
    return one.timestamp, type(one.timestamp), one.symbols, values, one.providers, one.disputed


def test_the_same_consumer_cannot_tell_replay_from_live(bars: pa.Table) -> None:
    """A venue over TCP and a replay of what was stored from it: the same slices, at the same times."""
    live_clock, replay_clock = _before(bars), _before(bars)
    live = list(_consume(Venue(bars, live_clock), live_clock))
    source = ReplaySource(bars, replay_clock, name="sp500-20", calendar="XNYS", adjusted_only=True)
    replayed = list(_consume(source, replay_clock))
    assert len(live) > 50
    assert replayed == live


def test_a_snapshot_a_table_and_a_source_replay_alike(bars: pa.Table, tmp_path) -> None:
    """Whatever the period is stored as, the same bars come, under the name they were stored with."""
    store = SnapshotStore(tmp_path)
    snapshot = store.save(bars, "sp500-20")
    clocks = [_before(bars) for _ in range(3)]
    source = find_source("sp500-20")
    replays = [
        ReplaySource(bars, clocks[0], name="sp500-20"),
        ReplaySource.of_snapshot(store, snapshot.id, clocks[1]),
        ReplaySource.of_source(source, SYMBOLS, clocks[2], start=datetime(2019, 1, 1, tzinfo=UTC)),
    ]

    async def read(replay: ReplaySource, count: int) -> list[Bar]:
        stream, told = replay.stream(SYMBOLS, "1d"), []
        async for bar in stream:
            told.append(bar)
            if len(told) == count:
                break
        await stream.aclose()
        return told

    first, second, third = (asyncio.run(read(replay, 12)) for replay in replays)
    assert first == second == third
    assert {bar.provider for bar in first} == {"sp500-20"}
    assert all(type(bar.timestamp) is datetime and bar.timestamp.tzinfo is UTC for bar in first)
    assert replays[2].adjusted_only
    assert replays[2].calendar == "XNYS"


def test_stored_providers_and_disputes_are_replayed(bars: pa.Table) -> None:
    """A period that was told by two providers replays with both names and its marks."""
    panel = BarPanel.from_table(bars, SYMBOLS)
    providers = np.full(panel.close.shape, "a", dtype=object)
    providers[5:] = "b"
    marks = np.zeros(panel.close.shape, dtype=bool)
    marks[6, 2] = True
    told = [
        panel.at(index).__class__(
            **{name: getattr(panel.at(index), name) for name in ("timestamp", "symbols", "open", "high")},
            **{name: getattr(panel.at(index), name) for name in ("low", "close", "volume", "adjustment")},
            providers=tuple(providers[index]),
            disputed=tuple(np.array(SYMBOLS)[marks[index]]),
        )
        for index in range(10)
    ]
    table = BarPanel.from_slices(told).to_table()
    clock = _before(table)
    with LiveSlices(SliceAssembler(ReplaySource(table, clock), SYMBOLS, "1d", clock=clock)) as live:
        slices = list(live)
    assert [one.providers[0] for one in slices] == ["a"] * 5 + ["b"] * 5
    assert [one.disputed for one in slices] == [("XOM",) if index == 6 else () for index in range(10)]


def test_history_tells_nothing_of_the_time_to_come(bars: pa.Table) -> None:
    """While the stream runs, history ends where the clock stands, even if asked for more."""
    clock = _before(bars)
    source = ReplaySource(bars, clock)

    async def read() -> None:
        stream, seen = source.stream(SYMBOLS, "1d"), 0
        async for bar in stream:
            seen += 1
            known = source.history(SYMBOLS, end=datetime(2030, 1, 1, tzinfo=UTC))
            assert to_datetime(known["timestamp"].to_numpy().max()) == bar.timestamp == clock.now()
            if seen == 20:
                break
        await stream.aclose()

    assert source.history(SYMBOLS).num_rows == 0
    asyncio.run(read())


@pytest.mark.parametrize("speed", [1.0, 60.0, 3600.0])
def test_bars_come_at_the_chosen_speed(bars: pa.Table, speed: float) -> None:
    """Between two bars passes their distance divided by the speed; what a consumer takes adds no delay."""
    waits: list[float] = []
    clock, began = _before(bars), monotonic()

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    async def read() -> list[Bar]:
        stream = ReplaySource(bars, clock, speed=speed, sleep=wait).stream(SYMBOLS, "1d")
        told = [bar async for bar in stream]
        return told

    start = clock.now()
    told = asyncio.run(read())
    # Nothing really waited, so each wait is counted from the beginning, less the little that has passed.
    passed = monotonic() - began
    due = [(bar.timestamp - start).total_seconds() / speed for bar in told]
    assert all(wanted - passed <= waited <= wanted for waited, wanted in zip(waits, due, strict=True))


def test_a_replay_at_real_speed_takes_its_time() -> None:
    """Bars 30 ms apart at twice the speed take no less than half of that."""
    times = np.datetime64("2026-03-02T14:30", "ns") + np.arange(6) * np.timedelta64(30, "ms")
    table = pa.table(
        {
            "symbol": ["X"] * 6,
            "timestamp": pa.array(times, pa.timestamp("ns", tz="UTC")),
            **{name: pa.array([None] * 6, pa.float64()) for name in ("open", "high", "low")},
            "close": [1.0] * 6,
            "volume": pa.array([None] * 6, pa.float64()),
            "adjustment": [1.0] * 6,
        }
    )
    clock = ReplayClock(to_datetime(times[0]) - timedelta(milliseconds=30))
    began = monotonic()
    with LiveSlices(
        SliceAssembler(ReplaySource(table, clock, frequency="30ms", speed=2.0), ("X",), "30ms", clock=clock)
    ) as live:
        assert len(list(live)) == 6
    assert monotonic() - began >= 6 * 0.03 / 2


def test_a_replay_leaves_nothing_behind(bars: pa.Table) -> None:
    """Left after the first slice of many, no thread remains."""
    before, clock = set(threading.enumerate()), _before(bars)
    with LiveSlices(SliceAssembler(ReplaySource(bars, clock, speed=1.0), SYMBOLS, "1d", clock=clock)):
        pass
    with LiveSlices(SliceAssembler(ReplaySource(bars, clock), SYMBOLS, "1d", clock=clock)) as live:
        next(live)
    assert set(threading.enumerate()) <= before


def test_what_cannot_be_replayed_is_refused(bars: pa.Table) -> None:
    """No speed, no rows, another frequency, an unknown symbol: each is named."""
    clock = _before(bars)
    for speed in (0.0, -1.0, math.nan):
        with pytest.raises(InputError, match="speed is"):
            ReplaySource(bars, clock, speed=speed)
    with pytest.raises(InputError, match="has no rows"):
        ReplaySource(bars.slice(0, 0), clock)
    source = ReplaySource(bars, clock)
    with pytest.raises(InputError, match="has bars of 1d, not 1m"):
        source.history(SYMBOLS, frequency="1m")
    with pytest.raises(UnknownNameError, match="unknown symbol 'NONE'"):
        source.history(("NONE",))
