"""Interactive Brokers: ib_async itself before a server on loopback that speaks the protocol of TWS."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, InputError, UnknownNameError, VendorError
from alphaloop.market import BARS_SCHEMA, Bar
from features.calendars import session_closes
from features.quality import check
from features.sources import registry
from features.sources.ibkr import Ibkr
from features.venues.busy import BusyError, advice
from features.venues.retry import GaveUpError, Retry

# Ten in the morning in New York, on a Friday.
OPEN = datetime(2020, 9, 11, 14, tzinfo=UTC)
MINUTE, BASE = timedelta(minutes=1), 1e6
SIZES = {"1 min": 1, "5 mins": 5, "15 mins": 15, "1 hour": 60}
LENGTHS = {"7 D": 7, "30 D": 30, "1 D": 1, "1 Y": 365}


def price(start: datetime) -> float:
    """What every symbol is worth in the minute that begins at `start`."""
    return BASE + (start - OPEN) / MINUTE


def framed(*fields: Any) -> bytes:
    """A message of TWS: its length, and its fields with a zero after each."""
    content = "".join(f"{one}\0" for one in fields).encode()
    return struct.pack(">I", len(content)) + content


@dataclass
class Gateway:
    """A TWS: what it holds, which failures it has left to give, and what it was asked."""

    clock: ReplayClock
    first: datetime = datetime(2019, 9, 3, tzinfo=UTC)
    zone: str = "US/Eastern"
    # Errors for the next requests of history, instead of their bars; None answers nothing.
    faults: list[tuple[int, str] | None] = field(default_factory=list)
    refuse_client: bool = False
    logins: list[int] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    live: dict[int, str] = field(default_factory=dict)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            greeting = await reader.readexactly(4)
            versions = await self.frame(reader)
            if greeting != b"API\0" or not versions[0].startswith("v"):
                return
            writer.write(framed(176, "20200911 10:00:00 EST"))
            while True:
                self.answer(await self.frame(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def frame(self, reader: asyncio.StreamReader) -> list[str]:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return (await reader.readexactly(length)).decode().split("\0")

    def answer(self, fields: list[str], writer: asyncio.StreamWriter) -> None:
        kind = int(fields[0])
        if kind == 71:
            self.logins.append(int(fields[2]))
            if self.refuse_client:
                text = "Unable to connect as the client id is already in use"
                writer.write(framed(4, 2, -1, 326, text, ""))
                return
            writer.write(framed(15, 1, "DU1234567") + framed(9, 1, 1))
            writer.write(framed(4, 2, -1, 2104, "Market data farm connection is OK:usfarm", ""))
        elif kind == 61:
            writer.write(framed(62, 1))
        elif kind == 9:
            self.details(fields[2], fields[4], writer)
        elif kind == 20:
            self.history(fields, writer)
        elif kind == 25:
            self.live.pop(int(fields[2]), None)

    def details(self, request: str, symbol: str, writer: asyncio.StreamWriter) -> None:
        if symbol not in ("AAPL", "MSFT"):
            text = "No security definition has been found for the request"
            writer.write(framed(4, 2, request, 200, text, ""))
            return
        contract = (symbol, "STK", "", 0, "", "SMART", "USD", symbol, "NMS", "NMS", 265598, 0.01)
        text = ("", "LMT", "SMART,NASDAQ", 1, 0, f"{symbol} INC", "NASDAQ", "", "Technology", "Computers", "")
        hours = (self.zone, "20200911:0400-20200911:2000", "20200911:0930-20200911:1600", "", 0, 0)
        rest = (1, "", "", "26", "", "COMMON", 1, 1, 100)
        writer.write(framed(10, request, *contract, *text, *hours, *rest) + framed(52, 1, request))

    def history(self, fields: list[str], writer: asyncio.StreamWriter) -> None:
        request, symbol = fields[1], fields[3]
        end, size, length, rth, what = fields[15:20]
        keep = fields[21] == "1"
        self.asked.append(
            {"symbol": symbol, "end": end, "size": size, "length": length, "what": what, "rth": rth}
        )
        if self.faults:
            fault = self.faults.pop(0)
            if fault is not None:
                writer.write(framed(4, 2, request, fault[0], fault[1], ""))
            return
        last = datetime.strptime(end, "%Y%m%d %H:%M:%S UTC").replace(tzinfo=UTC) if end else self.clock.now()
        rows = self.rows(size, last - timedelta(LENGTHS[length]), last)
        if not rows:
            text = "Historical Market Data Service error message:HMDS query returned no data"
            writer.write(framed(4, 2, request, 162, text, ""))
            return
        values = [value for row in rows for value in row]
        writer.write(framed(17, request, "from", "to", len(rows), *values))
        if keep:
            self.live[int(request)] = symbol

    def rows(self, size: str, first: datetime, last: datetime) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        if last < self.first:
            return rows
        closes = session_closes(max(first, self.first).date(), last.date())
        for close in closes.tolist():
            shut = datetime.fromtimestamp(close / 1e9, UTC)
            opened = shut - timedelta(hours=6, minutes=30)
            if size == "1 day":
                if first <= shut - timedelta(hours=20) < last and opened < self.clock.now():
                    rows.append((f"{shut:%Y%m%d}", *_values(price(opened))))
                continue
            step = timedelta(minutes=SIZES[size])
            start = opened
            while start < shut:
                if first <= start < last and start < self.clock.now():
                    rows.append((int(start.timestamp()), *_values(price(start))))
                # Hours are cut by the clock: the first of a session is a half.
                start += MINUTE * 30 if step == timedelta(hours=1) and start.minute else step
        return rows

    def tell(self, minute: int, close: float | None = None) -> None:
        """An update of the minute that begins so long after ten, to every subscription."""
        start = OPEN + MINUTE * minute
        value = price(start) if close is None else close
        for request in self.live:
            fields = (7, int(start.timestamp()), value, value, value + 1, value - 1, value, 100)
            self.say(framed(90, request, *fields))

    def say(self, content: bytes) -> None:
        """Send this to whoever is connected."""
        for writer in self.writers:
            if not writer.is_closing():
                writer.write(content)

    def drop(self) -> None:
        """Break every connection."""
        self.live.clear()
        for writer in self.writers:
            writer.transport.abort()


def _values(value: float) -> tuple[float, ...]:
    return value, value + 1, value - 1, value, 100, value, 7


@pytest.fixture
def gateway() -> Gateway:
    """A gateway at half a minute past ten."""
    return Gateway(ReplayClock(OPEN))


@pytest.fixture
def waits() -> list[float]:
    """How long the source would have waited."""
    return []


@pytest.fixture
def ibkr(gateway: Gateway, waits: list[float]) -> Iterator[Ibkr]:
    """The source before the gateway, with its waits cut short; the gateway has a thread and a loop."""
    ready, ports = threading.Event(), list[int]()
    ending: list[asyncio.Event] = []

    async def main() -> None:
        server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
        gateway.loop = asyncio.get_running_loop()
        ending.append(asyncio.Event())
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ending[0].wait()
        server.close()
        gateway.drop()
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="gateway")
    thread.start()
    ready.wait(5)

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    retry = Retry(
        on=(BusyError,), retry_after=advice, attempts=4, base=0.01, random=Random(1), async_sleep=pause
    )
    yield Ibkr(port=ports[0], client_id=7, timeout=5.0, poll=0.02, clock=gateway.clock, retry=retry)
    gateway.loop.call_soon_threadsafe(ending[0].set)
    thread.join()


def test_daily_bars_are_the_sessions_up_to_now(ibkr: Ibkr, gateway: Gateway) -> None:
    """Whole history is asked for backwards until there is no more; each session comes once, closed."""
    table = ibkr.history(("MSFT", "AAPL"))
    assert table.schema == BARS_SCHEMA
    assert table.num_rows == 2 * len(session_closes(gateway.first.date(), OPEN.date())[:-1])
    assert check(table, "XNYS") == [] or {one.severity for one in check(table, "XNYS")} == {"warning"}
    assert table["timestamp"].to_pylist()[-1] == datetime(2020, 9, 10, 20, tzinfo=UTC)
    assert [one["symbol"] for one in gateway.asked] == ["MSFT"] * 3 + ["AAPL"] * 3
    assert {(one["what"], one["rth"], one["length"]) for one in gateway.asked} == {("TRADES", "1", "1 Y")}
    assert gateway.logins == [8]
    assert ibkr.adjusted_only


def test_hours_end_by_the_clock(ibkr: Ibkr) -> None:
    """The first hour of a session is a half, and the rest end on the hour."""
    day = datetime(2020, 9, 10, tzinfo=UTC)
    table = ibkr.history(("AAPL",), day, day + timedelta(days=1), "1h")
    assert [f"{one:%H:%M}" for one in table["timestamp"].to_pylist()] == [
        "14:00", "15:00", "16:00", "17:00", "18:00", "19:00", "20:00",
    ]  # fmt: skip


def test_minutes_come_piece_by_piece(ibkr: Ibkr, gateway: Gateway) -> None:
    """Three weeks of minutes are pieces of seven days; each closed bar comes once, both ends included."""
    gateway.clock.advance(OPEN + 5 * MINUTE + timedelta(seconds=30))
    first = datetime(2020, 8, 24, 13, 31, tzinfo=UTC)
    table = ibkr.history(("AAPL",), first, None, "1m")
    moments = table["timestamp"].to_pylist()
    assert (moments[0], moments[-1]) == (first, OPEN + 5 * MINUTE)
    assert len(moments) == len(set(moments)) == 13 * 390 + 35
    assert [one["length"] for one in gateway.asked] == ["7 D"] * 3
    assert gateway.asked[0]["end"] == "20200911 14:05:30 UTC"


REALTIME = (420, "Invalid Real-time Query:Historical data request pacing violation")
PACING = (162, "Historical Market Data Service error message:API historical data query pacing violation")


@pytest.mark.parametrize("fault", [PACING, REALTIME])
def test_a_pacing_violation_is_waited_out(
    ibkr: Ibkr, gateway: Gateway, waits: list[float], fault: tuple[int, str]
) -> None:
    """After it the same piece is asked for again, a minute later, and no other."""
    gateway.faults = [fault, fault]
    day = datetime(2020, 9, 10, tzinfo=UTC)
    assert ibkr.history(("AAPL",), day, frequency="1m").num_rows == 390 + 30
    assert waits == [60.0, 60.0]
    assert len({one["end"] for one in gateway.asked}) == 1
    assert gateway.logins == [8]


def test_a_request_that_is_not_answered_is_asked_again(
    ibkr: Ibkr, gateway: Gateway, waits: list[float]
) -> None:
    """Silence counts as busy: never as an empty history."""
    gateway.faults = [None]
    object.__setattr__(ibkr, "timeout", 1.0)  # the first connection of a process takes a while
    day = datetime(2020, 9, 10, tzinfo=UTC)
    assert ibkr.history(("AAPL",), day, frequency="1m").num_rows == 420
    assert len(waits) == 1
    assert gateway.logins == [8, 8]


def test_failing_for_ever_ends_in_one_error(ibkr: Ibkr, gateway: Gateway) -> None:
    """A venue that never recovers gives VendorError after the attempts allowed, or at the deadline."""
    gateway.faults = [(504, "Not connected")] * 99
    with pytest.raises(GaveUpError, match=r"1d bars of 'AAPL': gave up after 4 attempts.*504 on 'AAPL'"):
        ibkr.history(("AAPL",))
    gateway.faults = [PACING] * 99
    object.__setattr__(ibkr.retry, "deadline", 30.0)
    with pytest.raises(VendorError, match="past the deadline"):
        ibkr.history(("AAPL",))


def test_what_retrying_does_not_mend_is_raised_at_once(
    ibkr: Ibkr, gateway: Gateway, waits: list[float]
) -> None:
    """A missing permission is the venue's word; an unknown symbol and another market are named."""
    gateway.faults = [
        (162, "Historical Market Data Service error message:No market data permissions for NASDAQ")
    ]
    with pytest.raises(VendorError, match=r"162 on 'AAPL': .*No market data permissions"):
        ibkr.history(("AAPL",))
    with pytest.raises(
        UnknownNameError, match="unknown symbol 'APPL' in source 'ibkr'; Interactive Brokers says"
    ):
        ibkr.history(("APPL",))
    gateway.zone = "Europe/London"
    with pytest.raises(DataError, match="'AAPL' trades in Europe/London"):
        ibkr.history(("AAPL",))
    with pytest.raises(DataError, match="1w"):
        ibkr.history(("AAPL",), frequency="1w")
    with pytest.raises(InputError, match="more symbols than it can list"):
        ibkr.history(())
    assert waits == []


def test_a_gateway_that_cannot_be_had_says_what_to_look_at(
    ibkr: Ibkr, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No listener, a client id in use, and a port that is no number: each is named."""
    alone = Ibkr(port=9, timeout=0.5, retry=ibkr.retry)
    with pytest.raises(GaveUpError, match=r"127.0.0.1:9 .*is TWS or IB Gateway running"):
        alone.history(("AAPL",))
    gateway.refuse_client = True
    object.__setattr__(ibkr, "timeout", 0.1)
    with pytest.raises(GaveUpError, match="326: Unable to connect as the client id is already in use"):
        ibkr.history(("AAPL",))
    monkeypatch.setenv("IBKR_PORT", "tws")
    with pytest.raises(InputError, match="IBKR_PORT is 'tws'"):
        registry.find("ibkr").history(("AAPL",))


def test_history_can_be_asked_for_from_a_running_loop(ibkr: Ibkr) -> None:
    """It has a thread and a loop of its own, which end with it."""

    async def asking() -> int:
        return ibkr.history(("AAPL",), datetime(2020, 9, 8, tzinfo=UTC)).num_rows

    assert asyncio.run(asking()) == 3
    assert [one.name for one in threading.enumerate() if one.name.startswith("ibkr")] == []


async def collected(ibkr: Ibkr, gateway: Gateway, steps: list[Any], count: int, *symbols: str) -> list[Bar]:
    """The first `count` bars of a stream, while the gateway takes its steps, 20 ms apart."""
    bars: list[Bar] = []
    stream = ibkr.stream(symbols)

    async def act() -> None:
        for subscribed, step in steps:
            # A step waits until as many subscriptions have been made since the beginning.
            while sum(one["end"] == "" for one in gateway.asked) < subscribed:
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.03)
            gateway.loop.call_soon_threadsafe(step)

    acting = asyncio.create_task(act())
    try:
        async with asyncio.timeout(8):
            async for bar in stream:
                bars.append(bar)
                if len(bars) == count:
                    break
    finally:
        acting.cancel()
        await stream.aclose()
    await asyncio.gather(acting, return_exceptions=True)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return bars


def minutes_of(bars: list[Bar], symbol: str) -> list[int]:
    """The minutes after ten at which the symbol's bars begin."""
    return [round((bar.timestamp - MINUTE - OPEN) / MINUTE) for bar in bars if bar.symbol == symbol]


def at(gateway: Gateway, minute: float, *told: int, close: float | None = None) -> Any:
    """The clock goes to so many minutes after ten, and these minutes are told of."""

    def step() -> None:
        gateway.clock.advance(max(gateway.clock.now(), OPEN + minute * MINUTE))
        for one in told:
            gateway.tell(one, close)

    return step


def test_a_stream_gives_each_minute_once_it_is_over(ibkr: Ibkr, gateway: Gateway) -> None:
    """An open bar is told again and again; what is given is its last word, when the next one begins."""
    steps = [
        (2, at(gateway, 0.2, 0, close=7.0)),
        (2, at(gateway, 0.5, 0)),
        (2, at(gateway, 1.1, 1)),
        (2, at(gateway, 2.1, 2)),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 4, "AAPL", "MSFT"))
    assert minutes_of(bars, "AAPL") == minutes_of(bars, "MSFT") == [0, 1]
    assert [bar.close for bar in bars if bar.symbol == "AAPL"] == [BASE, BASE + 1]
    assert (bars[0].provider, bars[0].timestamp, bars[0].adjustment) == ("ibkr", OPEN + MINUTE, 1.0)
    assert gateway.logins == [7]


def test_a_minute_closes_by_the_clock_where_nothing_follows(ibkr: Ibkr, gateway: Gateway) -> None:
    """A symbol that falls silent still gets its last bar, shortly after its period."""
    steps = [(1, at(gateway, 0.2, 0)), (1, at(gateway, 1.2))]
    bars = asyncio.run(collected(ibkr, gateway, steps, 1, "AAPL"))
    assert minutes_of(bars, "AAPL") == [0]


@pytest.mark.parametrize("how", ["dropped", "1100", "1101", "1102", "garbage"])
def test_a_broken_stream_loses_nothing_and_repeats_nothing(
    ibkr: Ibkr, gateway: Gateway, waits: list[float], how: str
) -> None:
    """However the link breaks, it subscribes anew, and what closed meanwhile comes in order, once."""

    def breaking() -> None:
        if how == "dropped":
            gateway.drop()
        elif how == "garbage":
            gateway.say(framed("what", "is", "this") + framed(90, "x") + struct.pack(">I", 3) + b"\xff\xfe\0")
            gateway.drop()
        else:
            gateway.say(framed(4, 2, -1, int(how), "Connectivity between IB and TWS", ""))
        gateway.clock.advance(OPEN + 5.5 * MINUTE)

    steps = [
        (2, at(gateway, 0.2, 0)),
        (2, at(gateway, 1.2, 1)),
        (2, at(gateway, 2.2, 2)),
        (2, breaking),
        (4, at(gateway, 6.1, 6)),
        (4, at(gateway, 7.1, 7)),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 14, "AAPL", "MSFT"))
    for symbol in ("AAPL", "MSFT"):
        assert minutes_of(bars, symbol) == list(range(7))
        assert [bar.close for bar in bars if bar.symbol == symbol] == [BASE + one for one in range(7)]
    assert gateway.logins == [7, 7]
    assert len(waits) == 1
    assert [one.name for one in threading.enumerate() if one.name.startswith(("asyncio", "ibkr"))] == []


def test_an_outage_over_a_weekend_is_filled_from_history(ibkr: Ibkr, gateway: Gateway) -> None:
    """What the new subscription does not reach back to comes from history, the bar that was open included."""

    def breaking() -> None:
        gateway.drop()
        gateway.clock.advance(OPEN + timedelta(days=3, seconds=5))

    steps = [
        (1, at(gateway, 0.2, 0)),
        (1, at(gateway, 1.2, 1)),
        (1, at(gateway, 2.2, 2, close=5.0)),
        (1, breaking),
    ]
    bars = asyncio.run(collected(ibkr, gateway, steps, 390, "AAPL"))
    moments = [bar.timestamp for bar in bars]
    assert moments == sorted(set(moments))
    assert (moments[359], moments[360]) == (
        datetime(2020, 9, 11, 20, tzinfo=UTC),
        datetime(2020, 9, 14, 13, 31, tzinfo=UTC),
    )
    assert moments[-1] == OPEN + timedelta(days=3)
    assert bars[2].close == BASE + 2


def test_impossible_bars_are_refused(ibkr: Ibkr, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    """A price below zero and fields that are none are skipped; the bar's next update is believed."""

    def nonsense() -> None:
        start = int((OPEN + MINUTE).timestamp())
        for request in gateway.live:
            gateway.say(framed(90, request, 7, start, "one", 1, 1, 1, 1, 100))
            gateway.say(framed(90, request, 7, start))
            gateway.say(framed(90, request, 7, "now", 1, 1, 1, 1, 1, 100))
            gateway.say(framed(90, "x", 7, start, 1, 1, 1, 1, 1, 100))
            gateway.say(framed(90, request, 7, start, -1, -1, -1, -1, -1, 100))

    steps = [
        (1, at(gateway, 0.2, 0)),
        (1, at(gateway, 1.2, 1)),
        (1, nonsense),
        (1, at(gateway, 1.8, 1)),
        (1, at(gateway, 2.2, 2)),
    ]
    with caplog.at_level(logging.CRITICAL, "ib_async"):
        bars = asyncio.run(collected(ibkr, gateway, steps, 2, "AAPL"))
    assert minutes_of(bars, "AAPL") == [0, 1]
    assert [bar.close for bar in bars] == [BASE, BASE + 1]
    assert gateway.logins == [7]


def test_a_subscription_that_is_refused_ends_the_stream(ibkr: Ibkr, gateway: Gateway) -> None:
    """An unknown symbol and a missing permission are raised, not tried for ever."""
    with pytest.raises(UnknownNameError, match="'APPL'"):
        asyncio.run(collected(ibkr, gateway, [], 1, "APPL"))
    gateway.faults = [(10089, "Requested market data requires additional subscription")]
    with pytest.raises(VendorError, match="10089 on 'AAPL'"):
        asyncio.run(collected(ibkr, gateway, [], 1, "AAPL"))
