"""Live bars, trades and books from Binance and Kraken, through ccxt.pro, over real sockets."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import pytest

from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, UnknownNameError, VendorError
from alphaloop.market import Bar
from features.sources.ccxt.source import Ccxt
from features.venues.retry import Retry
from features.venues.trades import Trade

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
T = TypeVar("T")


def venues() -> ModuleType:
    """The servers, from the file beside this one: test folders are no packages."""
    path = Path(__file__).with_name("crypto_venues.py")
    spec = importlib.util.spec_from_file_location("crypto_venues", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["crypto_venues"] = module
    spec.loader.exec_module(module)
    return module


VENUES = venues()


@pytest.fixture
def clock() -> ReplayClock:
    """Noon, to the second."""
    return ReplayClock(NOON)


@pytest.fixture(params=["Binance", "Kraken"])
def venue(request: pytest.FixtureRequest, clock: ReplayClock) -> Iterator[Any]:
    """Each of the two exchanges."""
    with getattr(VENUES, request.param)(clock) as server:
        yield server


@pytest.fixture
def binance(clock: ReplayClock) -> Iterator[Any]:
    """Binance alone."""
    with VENUES.Binance(clock) as server:
        yield server


@pytest.fixture
def kraken(clock: ReplayClock) -> Iterator[Any]:
    """Kraken alone."""
    with VENUES.Kraken(clock) as server:
        yield server


def source(venue: Any, **changes: Any) -> Ccxt:
    retry = Retry(on=(), attempts=3, base=0.005, cap=0.02, deadline=5.0)
    name = venue.provider.removeprefix("ccxt:")
    settings = {"configuration": venue.configuration(), "clock": venue.clock, "retry": retry, "tick": 0.01}
    return Ccxt(name, **settings | changes)


def opened(minute: int) -> int:
    """When the candle of the minute opened, in milliseconds."""
    return int((NOON + minute * MINUTE).timestamp() * 1000)


def bar(venue: Any, symbol: str, minute: int) -> Bar:
    one: Bar = VENUES.truth(symbol.partition("/")[0], opened(minute)).bar(symbol, venue.provider)
    return one


def tell(venue: Any, symbol: str, minute: int, final: bool = True) -> None:
    """The venue tells of a candle; while it is open, its close is another."""
    base = symbol.partition("/")[0]
    if venue.provider == "ccxt:binance":
        venue.send(
            venue.kline(base, opened(minute), final, None if final else 100.0 + VENUES.BASES.index(base))
        )
        return
    one = VENUES.truth(base, opened(minute))
    if not final:
        one = VENUES.Candle(one.opened, one.open, one.high, one.low, one.open, 1.0)
    venue.send(venue.candle(symbol, [one]))


def watch(stream: AsyncIterator[T], script: Callable[[], None], enough: Callable[[list[T]], bool]) -> list[T]:
    """What the stream gives while the script runs beside it, until both that is enough and it is through."""
    found: list[T] = []
    failures: list[BaseException] = []
    satisfied = asyncio.Event()

    def play() -> None:
        try:
            script()
        except BaseException as error:  # noqa: BLE001 - shown by the test that waits
            failures.append(error)

    async def listen() -> None:
        async with aclosing(stream) as each:  # type: ignore[type-var]
            async for one in each:
                found.append(one)
                if enough(found):
                    satisfied.set()

    async def both() -> None:
        listening = asyncio.create_task(listen())
        listening.add_done_callback(lambda _: satisfied.set())
        playing = asyncio.create_task(asyncio.to_thread(play))
        try:
            async with asyncio.timeout(40):
                await satisfied.wait()
        except TimeoutError:
            failures.append(AssertionError(f"after 40 s only {found}"))
        await playing
        listening.cancel()
        await asyncio.wait({listening}, timeout=5)
        if not listening.cancelled():
            listening.result()

    asyncio.run(both())
    assert not failures, failures
    return found


def bars_of(found: list[Bar], symbol: str) -> list[Bar]:
    return [one for one in found if one.symbol == symbol]


def ready(venue: Any, count: int, connection: int = 1) -> None:
    """Until the venue has that many subscriptions on its n-th connection."""
    venue.wait(lambda: len(venue.subscribed) >= connection and len(venue.subscribed[connection - 1]) >= count)


def test_only_closed_bars_come(venue: Any, clock: ReplayClock) -> None:
    """Of a candle told three times while it is open, one bar comes, with its last values, when it closed."""
    symbol = venue.symbols[0]
    one = source(venue)

    def script() -> None:
        ready(venue, 1)
        for minute in range(3):
            tell(venue, symbol, minute, final=False)
            tell(venue, symbol, minute, final=False)
            tell(venue, symbol, minute)
            venue.settle()
            clock.advance(NOON + (minute + 1) * MINUTE)
        tell(venue, symbol, 3, final=False)

    found = watch(one.stream((symbol,)), script, lambda bars: len(bars) == 3)
    assert found == [bar(venue, symbol, minute) for minute in range(3)]
    assert one.counts["gap"] == 0


def test_a_quiet_market_closes_by_the_clock(kraken: Any, clock: ReplayClock) -> None:
    """A bar after which nothing trades comes a few seconds after its minute, if the line is alive."""

    def script() -> None:
        ready(kraken, 1)
        tell(kraken, "C00/USD", 0)
        kraken.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=4))
        kraken.send({"channel": "heartbeat"})
        kraken.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=10))

    found = watch(source(kraken).stream(("C00/USD",)), script, len)
    assert found == [bar(kraken, "C00/USD", 0)]
    assert not any("OHLC" in each["path"] for each in kraken.requests)


def test_a_bar_that_a_dead_line_left_open_is_not_believed(venue: Any, clock: ReplayClock) -> None:
    """Where nothing at all was heard since the minute's end, its bar comes from history."""
    symbol = venue.symbols[0]

    def script() -> None:
        ready(venue, 1)
        tell(venue, symbol, 0, final=False)
        venue.settle()
        clock.advance(NOON + MINUTE + timedelta(seconds=10))

    one = source(venue)
    assert watch(one.stream((symbol,)), script, len) == [bar(venue, symbol, 0)]
    assert one.counts["filled"] == 1


def test_bursts_do_not_freeze_the_line(binance: Any, clock: ReplayClock) -> None:
    """After five thousand messages in one burst the line is still read, and the bar is right."""

    def script() -> None:
        ready(binance, 1)
        binance.burst([binance.kline("C00", opened(0), False, 100.0)] * 5000)
        tell(binance, "C00/USDT", 0)
        tell(binance, "C00/USDT", 1, final=False)

    found = watch(source(binance).stream(("C00/USDT",)), script, len)
    assert found == [bar(binance, "C00/USDT", 0)]


def test_a_slow_listener_gets_true_bars(kraken: Any, clock: ReplayClock) -> None:
    """While the listener is busy the end of a bar waits in the queue: it is not taken for silence."""
    busy = threading.Event()

    def script() -> None:
        ready(kraken, 1)
        tell(kraken, "C00/USD", 0)
        tell(kraken, "C00/USD", 1, final=False)
        busy.wait(5)
        clock.advance(NOON + 1.9 * MINUTE)
        tell(kraken, "C00/USD", 1)
        kraken.settle()
        clock.advance(NOON + 2.5 * MINUTE)
        kraken.send({"channel": "heartbeat"})

    async def slowly(bars: AsyncIterator[Bar]) -> AsyncIterator[Bar]:
        async with aclosing(bars) as each:  # type: ignore[type-var]
            async for one in each:
                yield one
                busy.set()
                await asyncio.sleep(0.3)

    found = watch(slowly(source(kraken).stream(("C00/USD",))), script, lambda bars: len(bars) == 2)
    assert found == [bar(kraken, "C00/USD", 0), bar(kraken, "C00/USD", 1)]


def test_fifty_pairs_share_one_connection(venue: Any, clock: ReplayClock) -> None:
    """All bars of 50 pairs come over a single socket, and each of them is the right one."""
    symbols = tuple(venue.symbols[:50])
    one = source(venue)

    def script() -> None:
        ready(venue, 50)
        for minute in range(3):
            for symbol in symbols:
                tell(venue, symbol, minute)
            venue.settle()
            clock.advance(NOON + (minute + 1) * MINUTE)

    found = watch(one.stream(symbols), script, lambda bars: len(bars) == 100)
    assert venue.connections == 1
    for symbol in symbols:
        assert bars_of(found, symbol) == [bar(venue, symbol, 0), bar(venue, symbol, 1)]
    assert len([one for one in venue.requests if "klines" in one["path"] or "OHLC" in one["path"]]) == 0


def test_a_listener_may_leave_while_messages_come(kraken: Any, clock: ReplayClock) -> None:
    """A cancellation that meets a message is not lost, whenever it comes."""

    async def leave(after: float) -> bool:
        one = source(kraken)

        async def listen() -> None:
            async with aclosing(one.stream(("C00/USD",))) as each:  # type: ignore[type-var]
                async for _ in each:
                    pass

        connection = kraken.connections + 1
        listening = asyncio.create_task(listen())
        await asyncio.to_thread(ready, kraken, 1, connection)
        candles = [kraken.candle("C00/USD", [VENUES.truth("C00", opened(0))]) for _ in range(300)]
        sending = asyncio.create_task(asyncio.to_thread(kraken.burst, candles))
        await asyncio.sleep(after)
        listening.cancel()
        left, _ = await asyncio.wait({listening}, timeout=2)
        await asyncio.wait({sending})
        return listening in left

    assert all(asyncio.run(leave(moment / 1000)) for moment in range(20))


def test_a_dropped_socket_loses_nothing_and_repeats_nothing(venue: Any, clock: ReplayClock) -> None:
    """Cut in the middle of a minute and back five minutes later: subscribed again, the gap filled first."""
    symbols = tuple(venue.symbols[:3])
    one = source(venue)

    def script() -> None:
        ready(venue, 3)
        for symbol in symbols:
            tell(venue, symbol, 0)
            tell(venue, symbol, 1, final=False)
        venue.settle()
        clock.advance(NOON + 1.5 * MINUTE)
        venue.drop()
        clock.advance(NOON + 6.5 * MINUTE)
        ready(venue, 3, connection=2)
        for minute in (6, 7):
            for symbol in symbols:
                tell(venue, symbol, minute)

    found = watch(one.stream(symbols), script, lambda bars: len(bars) == 21)
    for symbol in symbols:
        assert bars_of(found, symbol) == [bar(venue, symbol, minute) for minute in range(7)]
    assert (venue.connections, one.counts["dropped"], one.counts["gap"]) == (2, 1, 3)


def test_it_drops_again_and_again(binance: Any, clock: ReplayClock) -> None:
    """Five cuts in a row, each in the middle of a minute, cost no bar."""
    one = source(binance)

    def script() -> None:
        for cut in range(5):
            ready(binance, 1, connection=cut + 1)
            tell(binance, "C00/USDT", 2 * cut, final=False)
            binance.settle()
            clock.advance(NOON + (2 * cut + 2) * MINUTE)
            binance.drop()
        ready(binance, 1, connection=6)
        tell(binance, "C00/USDT", 10)
        clock.advance(NOON + 11 * MINUTE)
        tell(binance, "C00/USDT", 11)

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 11)
    assert found == [bar(binance, "C00/USDT", minute) for minute in range(11)]


def test_a_gap_waits_until_history_is_back(binance: Any, clock: ReplayClock) -> None:
    """With REST down after a drop nothing is skipped: the gap is filled once REST answers again."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        tell(binance, "C00/USDT", 0)
        binance.settle()
        clock.advance(NOON + MINUTE)
        binance.drop()
        binance.always = (503, {}, "down")
        clock.advance(NOON + 4.5 * MINUTE)
        ready(binance, 1, connection=2)
        asked = len(binance.requests)
        tell(binance, "C00/USDT", 4, final=False)
        binance.wait(lambda: len(binance.requests) > asked)
        binance.always = None
        tell(binance, "C00/USDT", 4)
        clock.advance(NOON + 5 * MINUTE)
        tell(binance, "C00/USDT", 5)

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 5)
    assert found == [bar(binance, "C00/USDT", minute) for minute in range(5)]


def test_a_socket_that_says_nothing_is_opened_again(kraken: Any) -> None:
    """A frozen connection is noticed and replaced, although nobody closed it."""
    one = source(kraken, stall=0.2)

    def script() -> None:
        ready(kraken, 1, connection=2)
        tell(kraken, "C00/USD", 0)
        kraken.settle()
        kraken.clock.advance(NOON + 1.5 * MINUTE)
        ready(kraken, 1, connection=3)

    assert watch(one.stream(("C00/USD",)), script, len) == [bar(kraken, "C00/USD", 0)]


MALFORMED = {
    "ccxt:binance": {
        "no JSON": '{"e": "kline", "E": 17',
        "not text of any kind": "\x00\x01\x02{",
        "a list of nothing": "[]",
        "a list of numbers": "[1, 2, 3]",
        "a candle that is a word": '{"e":"kline","s":"C00USDT","k":"soon"}',
        "a candle without a time": '{"e":"kline","s":"C00USDT","k":{"s":"C00USDT","i":"1m","c":"1"}}',
        "a candle of the year 2100": (
            '{"e":"kline","s":"C00USDT","k":{"t":4102444800000,"s":"C00USDT","i":"1m",'
            '"o":"1","h":"1","l":"1","c":"1","v":"1","x":true}}'
        ),
        "a price that is no number": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"1m",'
            '"o":"1","h":"1","l":"1","c":"cheap","v":"1"}}'
        ),
        "a negative price": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"1m",'
            '"o":"-1","h":"1","l":"-1","c":"-1","v":"1"}}'
        ),
        "an interval that nobody asked for": (
            '{"e":"kline","s":"C00USDT","k":{"t":1709294400000,"s":"C00USDT","i":"7m","o":"1"}}'
        ),
    },
    "ccxt:kraken": {
        "no JSON": '{"channel": "ohlc", "ty',
        "not text of any kind": "\x00\x01\x02{",
        "a list of nothing": "[]",
        "no data": '{"channel":"ohlc","type":"update","data":[]}',
        "data that is a word": '{"channel":"ohlc","type":"update","data":"soon"}',
        "a candle that is a number": '{"channel":"ohlc","type":"update","data":[7]}',
        "a candle without a symbol": '{"channel":"ohlc","type":"update","data":[{"interval":1,"close":1}]}',
        "a candle without a time": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"close":1}]}'
        ),
        "a price that is no number": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"open":1,"high":1,'
            '"low":1,"close":"cheap","volume":1,"interval_begin":"2024-03-01T12:00:00.000000Z"}]}'
        ),
        "a negative price": (
            '{"channel":"ohlc","type":"update","data":[{"symbol":"C00/USD","interval":1,"open":-1,"high":1,'
            '"low":-1,"close":-1,"volume":1,"interval_begin":"2024-03-01T12:00:00.000000Z"}]}'
        ),
    },
}


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        pytest.param(provider.removeprefix("ccxt:").title(), kind, message, id=f"{provider}: {kind}")
        for provider, kinds in MALFORMED.items()
        for kind, message in kinds.items()
    ],
)
def test_malformed_messages_are_skipped(name: str, kind: str, message: str, clock: ReplayClock) -> None:
    """Between good messages each of ten bad ones costs nothing: the bars are all there, and all true."""
    with getattr(VENUES, name)(clock) as server:
        symbol = server.symbols[0]

        def script() -> None:
            ready(server, 1)
            tell(server, symbol, 0)
            server.send(message)
            clock.advance(NOON + MINUTE)
            tell(server, symbol, 1)
            clock.advance(NOON + 2 * MINUTE)
            tell(server, symbol, 2)

        one = source(server)
        found = watch(one.stream((symbol,)), script, lambda bars: len(bars) == 2)
        assert found == [bar(server, symbol, 0), bar(server, symbol, 1)]
        assert server.connections == 1


def test_malformed_messages_are_counted_and_logged_once(
    binance: Any, clock: ReplayClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A hundred bad messages of one kind are a hundred in the count and one line in the log."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        for _ in range(100):
            binance.send('{"e": "kline", "E": 17')
        tell(binance, "C00/USDT", 0)
        clock.advance(NOON + MINUTE)
        tell(binance, "C00/USDT", 1)

    with caplog.at_level(logging.WARNING):
        watch(one.stream(("C00/USDT",)), script, len)
    assert one.counts["refused"] == 100
    assert len([record for record in caplog.records if "skipped a message" in record.message]) == 1


def test_trades_come_each_once(venue: Any) -> None:
    """Trades of two symbols with price, size, side and time; told again after a drop, they come once."""
    symbols = tuple(venue.symbols[:2])
    one = source(venue)

    def trade(symbol: str, number: int) -> None:
        moment = opened(0) + number * 250
        if venue.provider == "ccxt:binance":
            venue.send(venue.trade(symbol.partition("/")[0], number, moment, 100.0 + number, number % 2 == 0))
        else:
            side = "sell" if number % 2 == 0 else "buy"
            venue.send(venue.trade(symbol, number, moment, 100.0 + number, side))

    def script() -> None:
        ready(venue, 2)
        for number in range(1, 40):
            for symbol in symbols:
                trade(symbol, number)
        venue.drop()
        ready(venue, 2, connection=2)
        for number in range(30, 60):
            for symbol in symbols:
                trade(symbol, number)

    found = watch(one.watch_trades(symbols), script, lambda trades: len(trades) == 2 * 59)
    for symbol in symbols:
        mine = [one for one in found if one.symbol == symbol]
        assert [one.price for one in mine] == [100.0 + number for number in range(1, 60)]
        first = mine[0]
        assert first == Trade(
            symbol, NOON + timedelta(milliseconds=250), 101.0, 2.5, "buy", "1", provider=venue.provider
        )
        assert mine[1].side == "sell"


def test_bars_are_built_from_trades_where_none_are_told(binance: Any, clock: ReplayClock) -> None:
    """The first minute, heard from its middle on, comes from history; the next are built from trades."""
    configuration = binance.configuration() | {"has": {"watchOHLCV": False, "watchOHLCVForSymbols": False}}
    one = source(binance, configuration=configuration)
    one._has = lambda ability: False  # type: ignore[method-assign]

    def script() -> None:
        ready(binance, 1)
        for number, (second, price) in enumerate(
            [(20, 9.0), (61, 10.0), (80, 12.0), (119, 11.0), (121, 5.0)]
        ):
            clock.advance(NOON + timedelta(seconds=second))
            binance.send(binance.trade("C00", number, opened(0) + second * 1000, price, True))

    found = watch(one.stream(("C00/USDT",)), script, lambda bars: len(bars) == 2)
    built = Bar("C00/USDT", NOON + 2 * MINUTE, 11.0, 10.0, 12.0, 10.0, 7.5, provider="ccxt:binance")
    assert found == [bar(binance, "C00/USDT", 0), built]


def test_binance_books_start_from_a_snapshot(binance: Any) -> None:
    """The best five levels from the snapshot, and again whenever an update changes them."""
    one = source(binance)

    def script() -> None:
        ready(binance, 1)
        binance.wait(lambda: any("depth" in each["path"] for each in binance.requests))
        for number in range(1, 200):
            sizes = [["99.00", f"{number}.0"]]
            binance.send(binance.update("C00", 1000 + number, 1000 + number, sizes, []))

    found = watch(one.watch_book(("C00/USDT",)), script, lambda books: books[-1].bids[0][1] == 199.0)
    last = found[-1]
    assert last.bids == ((99.0, 199.0), (98.0, 2.0), (97.0, 2.0), (96.0, 2.0), (95.0, 2.0))
    assert last.asks == tuple((float(price), 3.0) for price in range(101, 106))
    assert (last.provider, last.timestamp) == ("ccxt:binance", NOON)


def test_kraken_books_outlive_a_drop(kraken: Any) -> None:
    """After a drop the new snapshot counts; a crossed book is refused and left out."""
    one = source(kraken)
    bids = {99.0 - level: 2.0 for level in range(10)}
    asks = {101.0 + level: 3.0 for level in range(10)}

    def script() -> None:
        ready(kraken, 1)
        kraken.send(kraken.book("C00/USD", "snapshot", bids, asks))
        kraken.send(kraken.book("C00/USD", "update", {105.0: 1.0}, {}))
        kraken.drop()
        ready(kraken, 1, connection=2)
        kraken.send(kraken.book("C00/USD", "snapshot", bids, asks))
        kraken.send(kraken.book("C00/USD", "update", {99.0: 0.0, 99.5: 7.0}, {}))

    found = watch(one.watch_book(("C00/USD",)), script, lambda books: books[-1].bids[0] == (99.5, 7.0))
    assert found[-1].bids[:2] == ((99.5, 7.0), (98.0, 2.0))
    assert len(found[-1].bids) == len(found[-1].asks) == 5
    assert all(book.bids[0][0] < book.asks[0][0] for book in found)
    assert one.counts["dropped"] == 1


def test_wrong_credentials_end_the_stream(
    binance: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What trying again cannot mend ends it with an error that shows no key."""
    monkeypatch.setenv("BINANCE_API_KEY", "wrong-key-7f3a")
    monkeypatch.setenv("BINANCE_SECRET", "wrong-secret-91bc")
    with caplog.at_level(logging.DEBUG), pytest.raises(VendorError, match="check the credentials") as caught:
        watch(source(binance).stream(("C00/USDT",)), lambda: None, len)
    assert "wrong-key-7f3a" not in f"{caught.value!r} {caught.value.__cause__!r} {caplog.text}"


def test_wrong_names_are_told_at_once(binance: Any) -> None:
    """An unknown symbol, and an exchange without a websocket, are errors and not silence."""
    with pytest.raises(UnknownNameError, match=r"'BTC/USDT'"):
        watch(source(binance).stream(("BTC/USDT",)), lambda: None, len)
    one = source(binance)
    one.exchange = "bitflyer"
    with pytest.raises(DataError, match=r"no live data"):
        watch(one.stream(("C00/USDT",)), lambda: None, len)


def test_a_closed_stream_leaves_nothing_behind(venue: Any, clock: ReplayClock) -> None:
    """After `aclose` no task is left in the loop and no thread in the process."""
    symbol = venue.symbols[0]

    async def use(connection: int) -> int:
        stream = source(venue).stream((symbol,))
        first = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
        await asyncio.to_thread(ready, venue, 1, connection)
        await asyncio.to_thread(tell, venue, symbol, connection)
        clock.advance(NOON + (connection + 1) * MINUTE)
        await asyncio.to_thread(tell, venue, symbol, connection + 1)
        await first
        await stream.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(use(1)) == 0
    # The resolver keeps one thread of its own for the whole process, from its first use on.
    before = threading.active_count()
    assert asyncio.run(use(2)) == 0
    assert threading.active_count() == before
