"""Alpaca's past: alpaca-py itself before a server on loopback gives whole, adjusted and believable bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import BARS_SCHEMA, BarPanel
from alphaloop.errors import AlphaloopError, DataError, InputError, UnknownNameError, VendorError
from marketdata.calendars import closes_of
from marketdata.connectors.rate_limit import VenueUnavailableError
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.quality.checks import check_bars
from marketdata.sources import registry
from marketdata.sources.alpaca import AlpacaSource

from .alpaca_venue import CLOSES, DAYS, FACTOR, MINUTE, OPEN, Venue, row_of


def test_daily_bars_come_page_by_page_with_their_factor(alpaca: AlpacaSource, venue: Venue) -> None:
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
    assert check_bars(table, "XNYS") == [] or {one.severity for one in check_bars(table, "XNYS")} == {
        "warning"
    }
    asked = [query for path, query in venue.asked if path == "/v2/stocks/bars"]
    assert [query.get("page_token") for query in asked[:5]] == [None, "2", "4", "6", "8"]
    assert {query["adjustment"] for query in asked} == {"raw"}
    assert {query["feed"] for query in asked} == {"iex"}


def test_minutes_carry_the_factor_and_stay_in_the_session(alpaca: AlpacaSource, venue: Venue) -> None:
    """Only closed minutes of the session are given, both ends included."""
    venue.clock.advance(OPEN + 5 * MINUTE + timedelta(seconds=30))
    table = alpaca.history(("AAPL",), OPEN, OPEN + timedelta(hours=2), "1m")
    moments = table["timestamp"].to_pylist()
    assert moments == [OPEN + MINUTE * place for place in range(6)]
    np.testing.assert_allclose(table["adjustment"].to_numpy(), FACTOR)
    assert alpaca.history(("AAPL",), OPEN - timedelta(hours=1), OPEN, "1h").num_rows == 0


def test_actions_are_dated_rows(alpaca: AlpacaSource) -> None:
    """Splits and dividends come with their ex-dates, between the days asked for."""
    rows = alpaca.actions(("AAPL",)).to_pylist()
    assert [(row["kind"], str(row["ex_date"]), row["value"]) for row in rows] == [
        ("cash_dividend", "2020-08-27", 0.82),
        ("split", "2020-08-31", 4.0),
    ]
    late = alpaca.actions(("AAPL",), datetime(2020, 8, 28, tzinfo=UTC))
    assert late["kind"].to_pylist() == ["split"]


def test_strange_symbols_and_settings_are_refused(
    alpaca: AlpacaSource, venue: Venue, monkeypatch: pytest.MonkeyPatch
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
        AlpacaSource(rest_url=alpaca.rest_url).history(("AAPL",))
    venue.faults = [(422, {}, '{"message": "start is after end"}')]
    with pytest.raises(InputError, match=r"422.*start is after end"):
        alpaca.history(("AAPL",))
    assert registry.find_source("alpaca").symbols() == ()


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_page_that_fails_is_asked_for_again_alone(
    alpaca: AlpacaSource, venue: Venue, waits: list[float], status: int
) -> None:
    """After server errors the same page is asked for again, and no other twice."""
    venue.page, venue.faults = 2, [(status, {}, "oops")] * 2
    assert alpaca.history(("MSFT",)).num_rows == 5
    tokens = [query.get("page_token") for path, query in venue.asked if path == "/v2/stocks/bars"]
    assert tokens[:5] == [None, None, None, "2", "4"]
    assert len(waits) == 2


def test_too_many_requests_waits_as_long_as_it_was_told(
    alpaca: AlpacaSource, venue: Venue, waits: list[float]
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


def test_failing_for_ever_ends_in_one_error(alpaca: AlpacaSource, venue: Venue) -> None:
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
        retry = RetryPolicy(on=(VenueUnavailableError,), attempts=2, sleep=waits.append)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        source = AlpacaSource(rest_url=url, timeout=0.1, retry=retry)
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
    "a bar of no time": {"bars": {"AAPL": [{**row_of(OPEN, 1.0), "t": "yesterday"}]}},
    "a price in words": {"bars": {"AAPL": [{**row_of(OPEN, 1.0), "c": "one"}]}},
}


@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_not_believed(alpaca: AlpacaSource, venue: Venue, body: Any) -> None:
    """An answer that is not of Alpaca's schema is one of our errors, never a crash."""
    venue.broken = body
    with pytest.raises(AlphaloopError, match=r"Alpaca|AAPL"):
        alpaca.history(("AAPL",))
