"""Interactive Brokers' past: ib_async itself before a gateway gives whole sessions, and waits or says why."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from alphaloop.bars import BARS_SCHEMA
from alphaloop.errors import DataError, InputError, UnknownNameError, VendorError
from marketdata.calendars import session_closes
from marketdata.connectors.retry import GaveUpError
from marketdata.quality.checks import check_bars
from marketdata.sources import registry
from marketdata.sources.ibkr import IbkrSource

from .ibkr_gateway import MINUTE, OPEN, Gateway


def test_daily_bars_are_the_sessions_up_to_now(ibkr: IbkrSource, gateway: Gateway) -> None:
    """Whole history is asked for backwards until there is no more; each session comes once, closed."""
    table = ibkr.history(("MSFT", "AAPL"))
    assert table.schema == BARS_SCHEMA
    assert table.num_rows == 2 * len(session_closes(gateway.first.date(), OPEN.date())[:-1])
    assert check_bars(table, "XNYS") == [] or {one.severity for one in check_bars(table, "XNYS")} == {
        "warning"
    }
    assert table["timestamp"].to_pylist()[-1] == datetime(2020, 9, 10, 20, tzinfo=UTC)
    assert [one["symbol"] for one in gateway.asked] == ["MSFT"] * 3 + ["AAPL"] * 3
    assert {(one["what"], one["rth"], one["length"]) for one in gateway.asked} == {("TRADES", "1", "1 Y")}
    assert gateway.logins == [8]
    assert ibkr.adjusted_only


def test_hours_end_by_the_clock(ibkr: IbkrSource) -> None:
    """The first hour of a session is a half, and the rest end on the hour."""
    day = datetime(2020, 9, 10, tzinfo=UTC)
    table = ibkr.history(("AAPL",), day, day + timedelta(days=1), "1h")
    assert [f"{one:%H:%M}" for one in table["timestamp"].to_pylist()] == [
        "14:00", "15:00", "16:00", "17:00", "18:00", "19:00", "20:00",
    ]  # fmt: skip


def test_minutes_come_piece_by_piece(ibkr: IbkrSource, gateway: Gateway) -> None:
    """Three weeks of minutes are pieces of seven days; each closed bar comes once, both ends included."""
    gateway.clock.advance(OPEN + 5 * MINUTE + timedelta(seconds=30))
    first = datetime(2020, 8, 24, 13, 31, tzinfo=UTC)
    table = ibkr.history(("AAPL",), first, None, "1m")
    moments = table["timestamp"].to_pylist()
    assert (moments[0], moments[-1]) == (first, OPEN + 5 * MINUTE)
    assert len(moments) == len(set(moments)) == 13 * 390 + 35
    assert [one["length"] for one in gateway.asked] == ["7 D"] * 3
    assert gateway.asked[0]["end"] == "20200911 14:05:30 UTC"


def test_weeks_without_trading_do_not_end_history(ibkr: IbkrSource, gateway: Gateway) -> None:
    """Hours from before a halt of two months come too; history ends where the venue has no more."""
    gateway.first = datetime(2020, 4, 1, tzinfo=UTC)
    gateway.halted = datetime(2020, 6, 1, tzinfo=UTC), datetime(2020, 8, 10, tzinfo=UTC)
    moments = ibkr.history(("AAPL",), frequency="1h")["timestamp"].to_pylist()
    closes = session_closes(gateway.first.date(), OPEN.date())
    traded = [one for one in closes.tolist() if not "2020-06" <= str(np.datetime64(one, "ns")) < "2020-08-10"]
    # Seven bars of each session, and of today what has closed by ten.
    assert len(moments) == 7 * (len(traded) - 1) + 1
    assert moments[0].date() == gateway.first.date()


REALTIME = (420, "Invalid Real-time Query:Historical data request pacing violation")
PACING = (162, "Historical Market Data Service error message:API historical data query pacing violation")


@pytest.mark.parametrize("fault", [PACING, REALTIME])
def test_a_pacing_violation_is_waited_out(
    ibkr: IbkrSource, gateway: Gateway, waits: list[float], fault: tuple[int, str]
) -> None:
    """After it the same piece is asked for again, a minute later, and no other."""
    gateway.faults = [fault, fault]
    day = datetime(2020, 9, 10, tzinfo=UTC)
    assert ibkr.history(("AAPL",), day, frequency="1m").num_rows == 390 + 30
    assert waits == [60.0, 60.0]
    assert len({one["end"] for one in gateway.asked}) == 1
    assert gateway.logins == [8]


def test_a_request_that_is_not_answered_is_asked_again(
    ibkr: IbkrSource, gateway: Gateway, waits: list[float]
) -> None:
    """Silence counts as busy: never as an empty history."""
    gateway.faults = [None]
    object.__setattr__(ibkr, "timeout", 1.0)  # the first connection of a process takes a while
    day = datetime(2020, 9, 10, tzinfo=UTC)
    assert ibkr.history(("AAPL",), day, frequency="1m").num_rows == 420
    assert len(waits) == 1
    assert gateway.logins == [8, 8]


def test_failing_for_ever_ends_in_one_error(ibkr: IbkrSource, gateway: Gateway) -> None:
    """A venue that never recovers gives VendorError after the attempts allowed, or at the deadline."""
    gateway.faults = [(504, "Not connected")] * 99
    with pytest.raises(GaveUpError, match=r"1d bars of 'AAPL': gave up after 4 attempts.*504 on 'AAPL'"):
        ibkr.history(("AAPL",))
    gateway.faults = [PACING] * 99
    object.__setattr__(ibkr.retry, "deadline", 30.0)
    with pytest.raises(VendorError, match="past the deadline"):
        ibkr.history(("AAPL",))


def test_what_retrying_does_not_mend_is_raised_at_once(
    ibkr: IbkrSource, gateway: Gateway, waits: list[float]
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
    ibkr: IbkrSource, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No listener, a client id in use, and a port that is no number: each is named."""
    alone = IbkrSource(port=9, timeout=0.5, retry=ibkr.retry)
    with pytest.raises(GaveUpError, match=r"127.0.0.1:9 .*is TWS or IB Gateway running"):
        alone.history(("AAPL",))
    gateway.refuse_client = True
    object.__setattr__(ibkr, "timeout", 0.1)
    with pytest.raises(GaveUpError, match="326: Unable to connect as the client id is already in use"):
        ibkr.history(("AAPL",))
    monkeypatch.setenv("IBKR_PORT", "tws")
    with pytest.raises(InputError, match="IBKR_PORT is 'tws'"):
        registry.find_source("ibkr").history(("AAPL",))


def test_history_can_be_asked_for_from_a_running_loop(ibkr: IbkrSource) -> None:
    """It has a thread and a loop of its own, which end with it."""

    async def asking() -> int:
        return ibkr.history(("AAPL",), datetime(2020, 9, 8, tzinfo=UTC)).num_rows

    assert asyncio.run(asking()) == 3
    assert [one.name for one in threading.enumerate() if one.name.startswith("ibkr")] == []
