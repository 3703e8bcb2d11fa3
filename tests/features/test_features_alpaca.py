"""Alpaca: alpaca-py itself before a server on loopback that speaks its REST and its websocket."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgpack
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from alphaloop.clock import ReplayClock
from alphaloop.errors import AlphaloopError, DataError, InputError, UnknownNameError, VendorError
from alphaloop.market import BARS_SCHEMA, Bar, BarPanel
from features.calendars import closes_of
from features.quality import check
from features.sources import registry
from features.sources.alpaca import Alpaca
from features.venues.busy import BusyError, advice
from features.venues.retry import GaveUpError, Retry

KEY, SECRET, WRONG = "PKTESTKEY0123456789", "s3cr3t/abcDEF+9876543210", "wr0ng/s3cret+VALUE"
# Ten in the morning in New York, on a Friday.
OPEN = datetime(2020, 9, 11, 14, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAYS = ("2020-08-26", "2020-08-27", "2020-08-28", "2020-08-31", "2020-09-01")
CLOSES = (506.09, 500.04, 499.23, 129.04, 134.18)
FACTOR = 4 * 506.09 / (506.09 - 0.82)
ACTIONS = {
    "cash_dividends": [{"symbol": "AAPL", "ex_date": "2020-08-27", "rate": 0.82, "id": "one"}],
    "forward_splits": [
        {"symbol": "AAPL", "ex_date": "2020-08-31", "new_rate": 4, "old_rate": 1, "id": "two"}
    ],
}
Script = Callable[[ServerConnection], Awaitable[None]]


@dataclass
class Venue:
    """What the servers hold, which failures they have left to give, and what they were asked."""

    clock: ReplayClock
    page: int = 1000
    actions: dict[str, Any] = field(default_factory=lambda: {**ACTIONS})
    faults: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    broken: Any = None
    quiet: set[datetime] = field(default_factory=set)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    scripts: list[Script] = field(default_factory=list)
    subscriptions: list[dict[str, Any]] = field(default_factory=list)
    greeting: Any = field(default_factory=lambda: [{"T": "success", "msg": "connected"}])

    def rest(self, path: str, query: dict[str, str], headers: Any) -> tuple[int, dict[str, str], str]:
        self.asked.append((path, query))
        if self.faults:
            return self.faults.pop(0)
        if (headers["APCA-API-KEY-ID"], headers["APCA-API-SECRET-KEY"]) != (KEY, SECRET):
            told = f"key {headers['APCA-API-KEY-ID']} secret {headers['APCA-API-SECRET-KEY']}"
            return 403, {}, json.dumps({"code": 40310000, "message": f"forbidden for {told}"})
        if self.broken is not None:
            return 200, {}, json.dumps(self.broken)
        answers = {
            "/v2/stocks/bars": self.bars,
            "/v2/stocks/bars/latest": self.latest,
            "/v1/corporate-actions": lambda _: {"corporate_actions": self.actions, "next_page_token": None},
        }
        return 200, {}, json.dumps(answers[path](query))

    def bars(self, query: dict[str, str]) -> dict[str, Any]:
        first, last = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        symbols = [one for one in query["symbols"].split(",") if one in ("AAPL", "MSFT")]
        rows = self.daily() if query["timeframe"] == "1Day" else self.minutes()
        every = [
            (symbol, row)
            for symbol in symbols
            for row in rows
            if first <= datetime.fromisoformat(row["t"]) <= last
        ]
        begin = int(query.get("page_token") or 0)
        answer: dict[str, Any] = {"bars": {}, "next_page_token": None}
        for symbol, row in every[begin : begin + self.page]:
            answer["bars"].setdefault(symbol, []).append(row)
        if begin + self.page < len(every):
            answer["next_page_token"] = str(begin + self.page)
        return answer

    def latest(self, query: dict[str, str]) -> dict[str, Any]:
        known = [one for one in query["symbols"].split(",") if one in ("AAPL", "MSFT")]
        return {"bars": {symbol: _row(OPEN, 1.0) for symbol in known}}

    def daily(self) -> list[dict[str, Any]]:
        starts = [datetime.fromisoformat(f"{day}T04:00:00+00:00") for day in DAYS]
        return [_row(start, close) for start, close in zip(starts, CLOSES, strict=True)]

    def minutes(self) -> list[dict[str, Any]]:
        starts = [OPEN - 3 * MINUTE + MINUTE * place for place in range(60)]
        return [
            _row(start, price(start))
            for start in starts
            if start not in self.quiet and start + MINUTE <= self.clock.now()
        ]


def price(start: datetime) -> float:
    """What every symbol is worth in the minute that begins at `start`."""
    return 100.0 + (start - OPEN) / MINUTE


def _row(start: datetime, close: float) -> dict[str, Any]:
    values = {"o": close, "h": close + 1, "l": close - 0.5, "c": close, "v": 1000, "n": 7, "vw": close}
    return {"t": start.strftime("%Y-%m-%dT%H:%M:%SZ"), **values}


def live(symbol: str, start: datetime, **changed: Any) -> dict[str, Any]:
    """A minute as the websocket tells it."""
    time = msgpack.Timestamp.from_datetime(start)
    return {**_row(start, price(start)), "T": "b", "S": symbol, "t": time, **changed}


def _handler(venue: Venue) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            status, headers, body = venue.rest(url.path, query, self.headers)
            content = body.encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """The test's output is its own."""

    return Handler


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right ones, in the environment."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)


@pytest.fixture
def venue() -> Venue:
    """The servers' state, at ten o'clock."""
    return Venue(ReplayClock(OPEN))


@pytest.fixture
def waits() -> list[float]:
    """How long the source would have waited."""
    return []


@pytest.fixture
def alpaca(venue: Venue, waits: list[float], credentials: None) -> Iterator[Alpaca]:
    """The source before the REST server, with its waits cut short; no thread outlives it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(venue))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    retry = Retry(
        on=(BusyError,), retry_after=advice, attempts=4, base=0.01, random=Random(1), sleep=waits.append,
        async_sleep=pause,
    )  # fmt: skip
    source = Alpaca(
        rest_url=f"http://127.0.0.1:{server.server_port}", timeout=5.0, clock=venue.clock, retry=retry
    )
    yield source
    if "_client" in source.__dict__:
        source._client._session.close()
    server.shutdown()
    thread.join()
    server.server_close()


async def collected(alpaca: Alpaca, venue: Venue, count: int, symbols: tuple[str, ...]) -> list[Bar]:
    """The first `count` bars of a stream from the websocket server, which then ends with its tasks."""

    async def serve_one(connection: ServerConnection) -> None:
        async def say(*messages: Any) -> None:
            await connection.send(msgpack.packb(list(messages)))

        await connection.send(msgpack.packb(venue.greeting))
        login = msgpack.unpackb(await connection.recv())
        if (login.get("action"), login.get("key"), login.get("secret")) != ("auth", KEY, SECRET):
            await say({"T": "error", "code": 402, "msg": f"auth failed for {login.get('secret')}"})
            return
        await say({"T": "success", "msg": "authenticated"})
        subscription = msgpack.unpackb(await connection.recv())
        venue.subscriptions.append(subscription)
        await say({"T": "subscription", "bars": subscription["bars"]})
        await (venue.scripts.pop(0) if venue.scripts else forever)(connection)

    bars: list[Bar] = []
    async with serve(serve_one, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        object.__setattr__(alpaca, "stream_url", f"ws://127.0.0.1:{port}")
        stream = alpaca.stream(symbols)
        try:
            async with asyncio.timeout(10):
                async for bar in stream:
                    bars.append(bar)
                    if len(bars) == count:
                        break
        finally:
            await stream.aclose()
        async with asyncio.timeout(2):
            while server.connections:
                await asyncio.sleep(0.005)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return bars


async def forever(connection: ServerConnection) -> None:
    """Say nothing until the client goes."""
    await connection.wait_closed()


def telling(venue: Venue, *minutes: int, drop: bool = False, symbols: tuple[str, ...] = ("AAPL",)) -> Script:
    """Tell of these minutes as they close, and then drop the connection without a word, or say no more."""

    async def script(connection: ServerConnection) -> None:
        for minute in minutes:
            start = OPEN + MINUTE * minute
            venue.clock.advance(max(venue.clock.now(), start + MINUTE))
            await connection.send(msgpack.packb([live(symbol, start) for symbol in symbols]))
        if drop:
            await asyncio.sleep(0.02)
            connection.transport.abort()
        else:
            await forever(connection)

    return script


def minutes_of(bars: list[Bar], symbol: str) -> list[int]:
    """The minutes after ten at which the symbol's bars begin."""
    return [round((bar.timestamp - MINUTE - OPEN) / MINUTE) for bar in bars if bar.symbol == symbol]


def test_daily_bars_come_page_by_page_with_their_factor(alpaca: Alpaca, venue: Venue) -> None:
    """Every page is asked for once, rows are as traded, and the factor grows at each ex-date."""
    venue.page = 2
    table = alpaca.history(("MSFT", "AAPL"))
    assert table.schema == BARS_SCHEMA
    panel = BarPanel.from_table(table, ("AAPL", "MSFT"))
    assert (panel.timestamps == closes_of([np.datetime64(day).item() for day in DAYS])).all()
    np.testing.assert_array_equal(panel.close[:, 0], CLOSES)
    dividend = 506.09 / (506.09 - 0.82)
    np.testing.assert_allclose(
        panel.adjustment[:, 0], [1, dividend, dividend, 4 * dividend, 4 * dividend], rtol=1e-12
    )
    np.testing.assert_array_equal(panel.adjustment[:, 1], 1.0)
    assert check(table, "XNYS") == [] or {one.severity for one in check(table, "XNYS")} == {"warning"}
    asked = [query for path, query in venue.asked if path == "/v2/stocks/bars"]
    assert [query.get("page_token") for query in asked[:5]] == [None, "2", "4", "6", "8"]
    assert {query["adjustment"] for query in asked} == {"raw"}
    assert {query["feed"] for query in asked} == {"iex"}


def test_minutes_carry_the_factor_and_stay_in_the_session(alpaca: Alpaca, venue: Venue) -> None:
    """Only closed minutes of the session are given, both ends included."""
    venue.clock.advance(OPEN + 5 * MINUTE + timedelta(seconds=30))
    table = alpaca.history(("AAPL",), OPEN, OPEN + timedelta(hours=2), "1m")
    moments = table["timestamp"].to_pylist()
    assert moments == [OPEN + MINUTE * place for place in range(6)]
    np.testing.assert_allclose(table["adjustment"].to_numpy(), FACTOR)
    assert alpaca.history(("AAPL",), OPEN - timedelta(hours=1), OPEN, "1h").num_rows == 0


def test_actions_are_dated_rows(alpaca: Alpaca) -> None:
    """Splits and dividends come with their ex-dates, between the days asked for."""
    rows = alpaca.actions(("AAPL",)).to_pylist()
    assert [(row["kind"], str(row["ex_date"]), row["value"]) for row in rows] == [
        ("cash_dividend", "2020-08-27", 0.82),
        ("split", "2020-08-31", 4.0),
    ]
    late = alpaca.actions(("AAPL",), datetime(2020, 8, 28, tzinfo=UTC))
    assert late["kind"].to_pylist() == ["split"]


def test_strange_symbols_and_settings_are_refused(
    alpaca: Alpaca, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol without any bar is unknown; a quiet one is not; a feed or frequency there is not is named."""
    with pytest.raises(UnknownNameError, match="unknown symbol 'APPL' in source 'alpaca'; Alpaca has no bar"):
        alpaca.history(("APPL", "AAPL"))
    assert (
        alpaca.history(("AAPL",), datetime(2019, 1, 1, tzinfo=UTC), datetime(2019, 1, 9, tzinfo=UTC)).num_rows
        == 0
    )
    with pytest.raises(DataError, match="4h"):
        alpaca.history(("AAPL",), frequency="4h")
    with pytest.raises(InputError, match="more symbols than it can list"):
        alpaca.history(())
    monkeypatch.setenv("APCA_DATA_FEED", "tape")
    with pytest.raises(UnknownNameError, match=r"unknown feed 'tape'.*APCA_DATA_FEED.*iex, sip"):
        Alpaca(rest_url=alpaca.rest_url).history(("AAPL",))
    venue.faults = [(422, {}, '{"message": "start is after end"}')]
    with pytest.raises(InputError, match=r"422.*start is after end"):
        alpaca.history(("AAPL",))
    assert registry.find("alpaca").symbols() == ()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_page_that_fails_is_asked_for_again_alone(
    alpaca: Alpaca, venue: Venue, waits: list[float], status: int
) -> None:
    """After server errors the same page is asked for again, and no other twice."""
    venue.page, venue.faults = 2, [(status, {}, "oops")] * 2
    assert alpaca.history(("MSFT",)).num_rows == 5
    tokens = [query.get("page_token") for path, query in venue.asked if path == "/v2/stocks/bars"]
    assert tokens[:5] == [None, None, None, "2", "4"]
    assert len(waits) == 2


def test_too_many_requests_waits_as_long_as_it_was_told(
    alpaca: Alpaca, venue: Venue, waits: list[float]
) -> None:
    """After 429 the next request comes no earlier than Retry-After says, in seconds or as a date."""
    dated = {"Retry-After": "Fri, 11 Sep 2020 14:00:30 GMT"}
    venue.faults = [
        (429, {"Retry-After": "7"}, "slow"),
        (429, dated, "slow"),
        (429, {"Retry-After": "soon"}, ""),
    ]
    assert alpaca.history(("MSFT",)).num_rows == 5
    assert waits[:2] == [7.0, 30.0]
    assert waits[2] < 1


def test_failing_for_ever_ends_in_one_error(alpaca: Alpaca, venue: Venue) -> None:
    """A venue that never recovers gives VendorError after the attempts allowed, or at the deadline."""
    venue.faults = [(503, {}, "down")] * 99
    with pytest.raises(
        GaveUpError, match=r"/stocks/bars: gave up after 4 attempts.*Alpaca answers 503: down"
    ):
        alpaca.history(("AAPL",))
    venue.faults = [(429, {"Retry-After": "3600"}, "slow")] * 99
    with pytest.raises(VendorError, match="past the deadline"):
        alpaca.history(("AAPL",))


def test_a_silent_server_does_not_hold_a_request_for_ever(credentials: None, waits: list[float]) -> None:
    """A server that takes the connection and says nothing is given up after the timeout."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        retry = Retry(on=(BusyError,), attempts=2, sleep=waits.append)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = Alpaca(rest_url=url, timeout=0.1, retry=retry)
        with pytest.raises(VendorError, match="Alpaca cannot be reached: ReadTimeout"):
            source.history(("AAPL",))
        source._client._session.close()


NONSENSE = {
    "a list": [],
    "a text": "later",
    "no bars of any name": {"news": []},
    "a bar without a close": {
        "bars": {"AAPL": [{"t": "2020-08-26T04:00:00Z", "o": 1, "h": 1, "l": 1, "v": 1}]}
    },
    "a bar of no time": {"bars": {"AAPL": [{**_row(OPEN, 1.0), "t": "yesterday"}]}},
    "a price in words": {"bars": {"AAPL": [{**_row(OPEN, 1.0), "c": "one"}]}},
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_not_believed(alpaca: Alpaca, venue: Venue, body: Any) -> None:
    """An answer that is not of Alpaca's schema is one of our errors, never a crash."""
    venue.broken = body
    with pytest.raises(AlphaloopError, match=r"Alpaca|AAPL"):
        alpaca.history(("AAPL",))


def test_a_stream_gives_each_closed_minute_once(alpaca: Alpaca, venue: Venue) -> None:
    """Bars are stamped with their close, named after their provider and adjusted as history's are."""
    venue.scripts = [telling(venue, 0, 0, 1, 2, symbols=("AAPL", "MSFT"))]
    bars = asyncio.run(collected(alpaca, venue, 6, ("AAPL", "MSFT")))
    assert minutes_of(bars, "AAPL") == minutes_of(bars, "MSFT") == [0, 1, 2]
    first = bars[0]
    assert (first.provider, first.timestamp, first.close) == ("alpaca", OPEN + MINUTE, 100.0)
    np.testing.assert_allclose([bar.adjustment for bar in bars if bar.symbol == "AAPL"], FACTOR)
    assert {bar.adjustment for bar in bars if bar.symbol == "MSFT"} == {1.0}
    history = alpaca.history(("AAPL",), OPEN + MINUTE, OPEN + 3 * MINUTE, "1m")
    assert history["adjustment"].to_pylist() == [bar.adjustment for bar in bars if bar.symbol == "AAPL"]


def test_a_dropped_stream_loses_nothing_and_repeats_nothing(
    alpaca: Alpaca, venue: Venue, waits: list[float]
) -> None:
    """After two drops it has logged in and subscribed anew, and history has filled both holes, in order."""

    async def late(connection: ServerConnection) -> None:
        # The outage lasts until the fifth minute is over.
        venue.clock.advance(OPEN + 6 * MINUTE)
        await telling(venue, 5, 6, drop=True, symbols=symbols)(connection)

    symbols = ("AAPL", "MSFT")
    venue.scripts = [
        telling(venue, 0, 1, 2, drop=True, symbols=symbols),
        late,
        telling(venue, 9, 10, symbols=symbols),
    ]
    bars = asyncio.run(collected(alpaca, venue, 22, symbols))
    for symbol in symbols:
        assert minutes_of(bars, symbol) == list(range(11))
        closes = [bar.close for bar in bars if bar.symbol == symbol]
        assert closes == [100.0 + place for place in range(11)]
    assert len({bar.adjustment for bar in bars if bar.symbol == "AAPL"}) == 1
    assert [sorted(one["bars"]) for one in venue.subscriptions] == [["AAPL", "MSFT"]] * 3
    assert len(waits) == 2
    assert [one.name for one in threading.enumerate() if one.name.startswith("asyncio")] == []


def test_a_quiet_minute_is_not_asked_about(alpaca: Alpaca, venue: Venue) -> None:
    """Where nothing traded there is no bar, and while the connection holds nobody looks for one."""
    venue.quiet = {OPEN + MINUTE}
    venue.scripts = [telling(venue, 0, 2, 3, 5)]
    bars = asyncio.run(collected(alpaca, venue, 4, ("AAPL",)))
    assert minutes_of(bars, "AAPL") == [0, 2, 3, 5]
    assert [path for path, query in venue.asked if query.get("timeframe") == "1Min"] == []


def test_the_night_has_no_bars_and_the_morning_its_own_factor(alpaca: Alpaca, venue: Venue) -> None:
    """What trades after the close is no bar of the session, and a split is in the first bar after it."""
    monday = datetime(2020, 9, 14, 13, 30, tzinfo=UTC)
    split = {"symbol": "AAPL", "ex_date": "2020-09-14", "new_rate": 2, "old_rate": 1, "id": "three"}
    venue.actions["forward_splits"] = [*ACTIONS["forward_splits"], split]
    venue.quiet = {OPEN + MINUTE * place for place in range(1, 60)}

    async def script(connection: ServerConnection) -> None:
        for start in (OPEN, OPEN + timedelta(hours=6, minutes=30), monday):
            venue.clock.advance(start + MINUTE)
            await connection.send(msgpack.packb([live("AAPL", start)]))
        await forever(connection)

    venue.scripts = [script]
    bars = asyncio.run(collected(alpaca, venue, 2, ("AAPL",)))
    assert [bar.timestamp for bar in bars] == [OPEN + MINUTE, monday + MINUTE]
    np.testing.assert_allclose([bar.adjustment for bar in bars], [FACTOR, 2 * FACTOR])


GOOD = live("AAPL", OPEN + MINUTE)
MALFORMED: dict[str, Any] = {
    "no MessagePack": b"\xc1\xff\x00",
    "cut off": msgpack.packb([GOOD])[:-9],
    "a text frame": '[{"T": "b"}]',
    "a mapping for a list": msgpack.packb(GOOD),
    "a number for a message": msgpack.packb([7]),
    "an unknown type": msgpack.packb([{**GOOD, "T": "zz"}]),
    "no type": msgpack.packb([{"S": "AAPL"}]),
    "another symbol": msgpack.packb([{**GOOD, "S": "TSLA"}]),
    "no close": msgpack.packb([{name: value for name, value in GOOD.items() if name != "c"}]),
    "a price in words": msgpack.packb([{**GOOD, "o": "one"}]),
    "a price that is none": msgpack.packb([{**GOOD, "c": float("nan")}]),
    "a price below zero": msgpack.packb([{**GOOD, "l": -1.0}]),
    "a high below the low": msgpack.packb([{**GOOD, "h": 1.0}]),
    "a volume below zero": msgpack.packb([{**GOOD, "v": -5}]),
    "no time": msgpack.packb([{**GOOD, "t": "2020"}]),
    "a time within a minute": msgpack.packb([live("AAPL", OPEN + timedelta(seconds=61))]),
    "a time in the future": msgpack.packb([live("AAPL", OPEN + timedelta(days=3))]),
    "an error without a code": msgpack.packb([{"T": "error", "msg": "?"}]),
}


@pytest.mark.parametrize("frame", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_message_is_skipped(
    alpaca: Alpaca, venue: Venue, frame: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once and not believed; the minute that it may have been comes from history."""

    async def script(connection: ServerConnection) -> None:
        for minute in (0, 1, 2):
            start = OPEN + MINUTE * minute
            venue.clock.advance(start + MINUTE)
            if minute == 1:
                await connection.send(frame)
                await connection.send(frame)
            else:
                await connection.send(msgpack.packb([live("AAPL", start)]))
        await forever(connection)

    venue.scripts = [script]
    with caplog.at_level(logging.WARNING, "features"):
        bars = asyncio.run(collected(alpaca, venue, 3, ("AAPL",)))
    assert minutes_of(bars, "AAPL") == [0, 1, 2]
    assert [bar.close for bar in bars] == [100.0, 101.0, 102.0]
    assert sum("skipped a message" in record.message for record in caplog.records) == 1
    assert len(venue.subscriptions) == 1


def test_one_bad_message_does_not_cost_the_rest_of_its_frame(alpaca: Alpaca, venue: Venue) -> None:
    """What stands behind a malformed message in the same frame is believed."""

    async def script(connection: ServerConnection) -> None:
        venue.clock.advance(OPEN + MINUTE)
        await connection.send(msgpack.packb([7, {"T": "b"}, live("AAPL", OPEN)]))
        await forever(connection)

    venue.scripts = [script]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]


@pytest.mark.parametrize(
    ("code", "text"), [(406, "connection limit exceeded"), (407, "slow client"), (500, "?")]
)
def test_an_error_that_may_pass_is_met_with_a_new_connection(
    alpaca: Alpaca, venue: Venue, code: int, text: str
) -> None:
    """The stream goes on over another connection."""

    async def script(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb([{"T": "error", "code": code, "msg": text}]))
        await forever(connection)

    venue.scripts = [script, telling(venue, 0)]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]
    assert len(venue.subscriptions) == 2


@pytest.mark.parametrize(
    ("code", "text"), [(409, "insufficient subscription"), (405, "symbol limit exceeded")]
)
def test_an_error_that_does_not_pass_ends_the_stream(
    alpaca: Alpaca, venue: Venue, code: int, text: str
) -> None:
    """What no new connection mends is a VendorError with the venue's word."""

    async def script(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb([{"T": "error", "code": code, "msg": text}]))
        await forever(connection)

    venue.scripts = [script]
    with pytest.raises(VendorError, match=rf"refuses: {text} \({code}\)"):
        asyncio.run(collected(alpaca, venue, 1, ("AAPL",)))


@pytest.mark.parametrize("greeting", [[], ["hello"], [{"T": "success"}], [{"T": "success", "msg": "busy"}]])
def test_a_strange_greeting_is_met_with_a_new_connection(
    alpaca: Alpaca, venue: Venue, waits: list[float], greeting: Any
) -> None:
    """A server that greets with nonsense is asked again, later."""
    venue.greeting = greeting

    async def heal(seconds: float) -> None:
        waits.append(seconds)
        venue.greeting = [{"T": "success", "msg": "connected"}]

    object.__setattr__(alpaca.retry, "async_sleep", heal)
    venue.scripts = [telling(venue, 0)]
    assert minutes_of(asyncio.run(collected(alpaca, venue, 1, ("AAPL",))), "AAPL") == [0]
    assert len(waits) == 1


def test_wrong_credentials_are_named_and_never_shown(
    alpaca: Alpaca, venue: Venue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the message, the traceback with every variable in it, the log at its lowest level, or a repr."""
    monkeypatch.setenv("APCA_API_SECRET_KEY", WRONG)
    heard = io.StringIO()
    handler = logging.StreamHandler(heard)
    handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        attempts: list[Callable[[], object]] = [
            lambda: alpaca.history(("AAPL",)),
            lambda: asyncio.run(collected(alpaca, venue, 1, ("AAPL",))),
        ]
        for attempt in attempts:
            with pytest.raises(VendorError, match=r"check APCA_API_KEY_ID and") as caught:
                attempt()
            capture_locals = "the variables of frames are shown"
            shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            text = "".join(shown.format()) + repr(caught.value)
            assert capture_locals in text
            assert WRONG not in text
            assert KEY not in text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert "connecting to" in heard.getvalue()
    lines = heard.getvalue().splitlines()
    # Frames are logged in hexadecimal, cut in the middle: those that the client sends must not be at all.
    assert [line for line in lines if "BINARY" in line and not line.startswith("websockets.server")] == []
    for hidden in (WRONG, KEY, WRONG.encode().hex(" ")):
        assert hidden not in heard.getvalue()
        assert hidden not in repr(alpaca) + str(alpaca.__dict__)


def test_missing_credentials_say_what_to_set(alpaca: Alpaca, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read before it is used, and then the variable is named."""
    monkeypatch.delenv("APCA_API_KEY_ID")
    with pytest.raises(InputError, match="APCA_API_KEY_ID"):
        alpaca.history(("AAPL",))
