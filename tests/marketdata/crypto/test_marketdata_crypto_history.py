"""Past bars from Binance and Kraken, through ccxt, from servers that speak their protocols."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from alphaloop.bars import BARS_SCHEMA, Bar
from alphaloop.clock import ReplayClock
from alphaloop.errors import DataError, InputError, UnknownNameError, VendorError
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.connectors.stored_bars import stored_bars
from marketdata.sources import registry
from marketdata.sources.ccxt.source import CcxtSource

from . import crypto_venues

NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Timer:
    """Waits that take no time and are remembered."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    async def async_sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def timer() -> Timer:
    """Time that passes only by waiting."""
    return Timer()


@pytest.fixture
def clock() -> ReplayClock:
    """Half a minute past noon: one candle is open."""
    return ReplayClock(NOON + MINUTE / 2)


def source(venue: Any, timer: Timer, **changes: Any) -> CcxtSource:
    retry = RetryPolicy(
        on=(),
        random=Random(7),
        async_sleep=timer.async_sleep,
        monotonic=timer.monotonic,
        **changes,
    )
    name = venue.provider.removeprefix("ccxt:")
    return CcxtSource(name, configuration=venue.configuration(), clock=venue.clock, retry=retry)


def expected(venue: Any, first: datetime, last: datetime, symbols: tuple[str, ...]) -> list[Bar]:
    """The truth of the bars that close from `first` to `last`."""
    count = (last - first) // MINUTE + 1
    closes = [int((first + index * MINUTE).timestamp() * 1000) for index in range(count)]
    return [
        crypto_venues.truth(symbol.split("/")[0], close - crypto_venues.MINUTE).bar(symbol, venue.provider)
        for close in closes
        for symbol in symbols
    ]


def test_history_comes_in_pages_and_whole(venue: Any, timer: Timer) -> None:
    """Six hours of two symbols over several pages: every bar, once, stamped with its close in UTC."""
    symbols = tuple(venue.symbols[:2])
    first = NOON - timedelta(hours=6)
    table = source(venue, timer).history(symbols, first, NOON, "1m")
    assert table.schema == BARS_SCHEMA
    assert list(stored_bars(table, venue.provider)) == expected(venue, first, NOON, symbols)
    pages = [one for one in venue.requests if "klines" in one["path"] or "OHLC" in one["path"]]
    # Binance gives 100 candles a page here, whatever is asked; Kraken its 720.
    assert len(pages) == (8 if venue.provider == "ccxt:binance" else 2)


def test_the_bar_that_is_open_is_left_out(venue: Any, timer: Timer, clock: ReplayClock) -> None:
    """At 12:00:30 the last bar closed at 12:00; the next appears when its minute is over."""
    one = source(venue, timer)
    ask = {"symbols": (venue.symbols[0],), "start": NOON, "frequency": "1m"}
    assert [str(moment) for moment in one.history(**ask)["timestamp"].to_pylist()] == [str(NOON)]
    clock.advance(NOON + MINUTE)
    assert one.history(**ask)["timestamp"].to_pylist() == [NOON, NOON + MINUTE]
    assert one.history(**ask, end=NOON + timedelta(days=9)).num_rows == 2


def test_without_a_start_all_that_the_exchange_has_comes(venue: Any, timer: Timer) -> None:
    """History without a beginning is every bar since the coin was listed, over all pages, each once."""
    venue.born = NOON.replace(hour=0) - timedelta(days=400)
    table = source(venue, timer).history((venue.symbols[3],), frequency="1d")
    days = [venue.born + timedelta(days=count + 1) for count in range(400)]
    assert table["timestamp"].to_pylist() == days


def test_what_kraken_no_longer_has_is_said(clock: ReplayClock, timer: Timer, caplog: Any) -> None:
    """Kraken gives 720 candles back and no more; the log says where its history begins."""
    with crypto_venues.Kraken(clock) as kraken, caplog.at_level(logging.WARNING):
        table = source(kraken, timer).history((kraken.symbols[0],), NOON - timedelta(days=9), NOON, "1m")
    assert len(table) == 719
    assert "ccxt:kraken gives bars of C00/USD from 2024-03-01 00:02" in caplog.text


def test_symbols_are_listed_and_asked_for_once(venue: Any, timer: Timer) -> None:
    """All markets by the name that ccxt gives them; a second question needs no second list."""
    one = source(venue, timer)
    assert one.symbols() == tuple(sorted(venue.symbols))
    asked = len(venue.requests)
    assert one.symbols() == tuple(sorted(venue.symbols))
    assert len(venue.requests) == asked


@pytest.mark.parametrize("header", ["7", "Fri, 01 Mar 2024 12:00:37 GMT"])
def test_a_rate_limit_is_waited_out(venue: Any, timer: Timer, header: str) -> None:
    """Told 429 with Retry-After, in seconds or as a date, it asks again no sooner, and gets the bars."""
    venue.faults = [(429, {"Retry-After": header}, "{}")]
    table = source(venue, timer, base=0.001).history((venue.symbols[0],), NOON - MINUTE, NOON, "1m")
    assert len(table) == 2
    assert timer.waits == [pytest.approx(7.0)]


def test_a_server_that_recovers_is_asked_again(venue: Any, timer: Timer) -> None:
    """Three answers of 500, 502 and 503 cost three waits and nothing else."""
    one = source(venue, timer)
    one.symbols()
    venue.faults = [(500, {}, "oops"), (502, {}, "<html>bad gateway</html>"), (503, {}, "")]
    assert one.history((venue.symbols[0],), NOON - MINUTE, NOON, "1m").num_rows == 2
    assert len(timer.waits) == 3


def test_a_server_that_stays_broken_ends_within_the_deadline(venue: Any, timer: Timer) -> None:
    """503 for ever: an error that names the source, before the deadline has passed, its cause chained."""
    venue.always = (503, {}, "down")
    with pytest.raises(GaveUpError, match=rf"{venue.provider}: its markets: gave up after \d+ attempts"):
        source(venue, timer, attempts=100, deadline=20.0).symbols()
    assert timer.time <= 20.0
    assert len(timer.waits) >= 3


def test_nobody_there_is_a_vendor_error(binance: Any, timer: Timer) -> None:
    """A port at which nobody listens ends as the same error."""
    configuration = binance.configuration()
    configuration["urls"]["api"]["public"] = "http://127.0.0.1:1/api/v3"
    retry = RetryPolicy(on=(), attempts=2, async_sleep=timer.async_sleep)
    with pytest.raises(VendorError, match="gave up after 2 attempts"):
        CcxtSource("binance", configuration=configuration, clock=binance.clock, retry=retry).symbols()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        pytest.param("<html>maintenance</html>", "candle", id="a page instead of data"),
        pytest.param("[[1709294280000, ", "candle", id="cut in the middle"),
        pytest.param('{"symbol": 1}', "malformed|candle", id="an object"),
        pytest.param("[[]]", "candle", id="an empty candle"),
        pytest.param('[["soon", "1", "1", "1", "1", "1"]]', "candle", id="no time"),
        pytest.param('[[1709294280000, "1", "1", "1", "cheap", "1"]]', "candle", id="no number"),
        pytest.param('[[1709294280000, "1", "1", "1", null, "1"]]', "candle", id="no close"),
        pytest.param('[[1709294280000, "1", "1", "1", "-1", "1"]]', "close is -1.0", id="a negative price"),
        pytest.param('[[1709294280000, "2", "1", "3", "2", "1"]]', "high 1.0 is below", id="upside down"),
        pytest.param('[[1709294280000, "1", "1", "1", "1", "-5"]]', "volume is -5.0", id="a negative volume"),
    ],
)
def test_malformed_answers_are_data_errors(binance: Any, timer: Timer, body: str, named: str) -> None:
    """Each is an error that names source and symbol; none becomes a bar, none is tried again."""
    one = source(binance, timer)
    one.symbols()
    binance.always = (200, {}, body)
    with pytest.raises(DataError, match=named) as caught:
        one.history(("C00/USDT",), NOON - MINUTE, NOON, "1m")
    assert "ccxt:binance" in str(caught.value)
    assert timer.waits == []


def test_a_market_list_that_is_none_is_a_data_error(venue: Any, timer: Timer) -> None:
    """An exchange that answers something else when asked for its markets is not believed to have none."""
    venue.always = (200, {}, "[]")
    with pytest.raises(DataError, match=venue.provider):
        source(venue, timer).symbols()


def test_wrong_names_come_back_with_near_ones(venue: Any, timer: Timer) -> None:
    """A symbol or frequency that the exchange lacks is named together with what it has."""
    one = source(venue, timer)
    with pytest.raises(UnknownNameError, match=rf"'C0/USD'.*{venue.provider}.*C0\d/"):
        one.history(("C0/USD",))
    with pytest.raises(DataError, match=r"'7m'.*1m, 5m, 15m, 1h, 4h, 1d, 1w"):
        one.history((venue.symbols[0],), frequency="7m")
    with pytest.raises(InputError, match="60 symbols; name those"):
        one.history(())


def test_wrong_credentials_show_no_secret(
    binance: Any, timer: Timer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The exchange refuses the key and echoes it: not in message, traceback or log at any level."""
    key, secret = "wrong-key-7f3a", "wrong-secret-91bc"
    monkeypatch.setenv("BINANCE_API_KEY", key)
    monkeypatch.setenv("BINANCE_SECRET", secret)
    with caplog.at_level(logging.DEBUG), pytest.raises(VendorError, match="check the credentials") as caught:
        source(binance, timer).symbols()
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "API-key format invalid: ***" in shown
    assert key not in shown
    assert secret not in shown
    assert timer.waits == []
    assert [one["path"] for one in binance.requests if "sapi" in one["path"]], "the key was never used"


def test_history_works_where_a_loop_runs(binance: Any, timer: Timer) -> None:
    """In a notebook, where a loop runs already, the same call gives the same bars."""
    import asyncio

    one = source(binance, timer)

    async def notebook() -> int:
        return one.history(("C00/USDT",), NOON - MINUTE, NOON, "1m").num_rows

    assert asyncio.run(notebook()) == 2


def test_every_exchange_is_a_source_by_name() -> None:
    """`ccxt:<exchange>` is found for every exchange of ccxt, without network or credentials."""
    family = registry.source_families()["ccxt"]
    assert {"binance", "kraken", "coinbase", "okx"} <= set(family.names())
    for name in family.names():
        found = registry.find_source(f"ccxt:{name}")
        assert (found.name, found.calendar, found.adjusted_only) == (f"ccxt:{name}", "24/7", False)


def test_a_wrong_exchange_is_answered_with_near_ones() -> None:
    """A misspelt exchange is named together with those that look like it."""
    with pytest.raises(UnknownNameError, match=r"'binanse'.*known: .*binance"):
        registry.find_source("ccxt:binanse")
    with pytest.raises(UnknownNameError, match=r"'nasdaq'.*ccxt:…"):
        registry.find_source("nasdaq")


def test_the_wire_is_what_ccxt_documents(binance: Any) -> None:
    """The server's candle has the twelve fields that Binance sends."""
    row = json.loads(json.dumps(binance.row(crypto_venues.truth("C00", 0), crypto_venues.MINUTE)))
    assert len(row) == 12
