"""Interactive Brokers, through `ib_async` and a logged-in TWS or IB Gateway: bars, past and live.

The venue's bars are adjusted for all splits until today and for no dividends, and it reports neither with
dates, so this source counts as one of adjusted prices only. Live bars are as traded.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeVar

import pyarrow as pa

from alphaloop.bars import Bar
from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import DataError, InputError
from marketdata.connectors.closed_bars import PERIODS, BarUpdate, ClosedBars
from marketdata.connectors.gap_suspicion import GapSuspicion
from marketdata.connectors.rate_limit import VenueUnavailableError, requested_wait
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.connectors.run_sync import run_coroutine
from marketdata.connectors.session_hours import in_regular_session
from marketdata.connectors.stored_bars import stored_bars
from marketdata.source import CalendarName, require_frequency, require_symbols, select_bars
from marketdata.sources.ibkr_messages import (
    NOTICE_CODES,
    TEMPORARY_CODES,
    bar_start,
    error_for_code,
    session_table,
    to_update,
)

BAR_SIZES = {"1m": "1 min", "5m": "5 mins", "15m": "15 mins", "1h": "1 hour", "1d": "1 day"}
# Length of one request, in the venue's notation and in days.
REQUEST_DURATIONS = {"1m": "7 D", "5m": "30 D", "15m": "30 D", "1h": "30 D", "1d": "1 Y"}
REQUEST_DAYS = {"1m": 7, "5m": 30, "15m": 30, "1h": 30, "1d": 365}
# Longest halt of trading; a symbol without bars for longer has no earlier bars.
MAX_QUIET = timedelta(days=90)
ZONES = ("US/Eastern", "America/New_York", "EST5EDT", "EST")
HOST, VARIABLES = "IBKR_HOST", {"port": "IBKR_PORT", "client_id": "IBKR_CLIENT_ID"}

Answer = TypeVar("Answer")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IbkrSource:
    """Source `ibkr`.

    `host`, `port` and `client_id` are those of the gateway; by default IBKR_HOST, IBKR_PORT and
    IBKR_CLIENT_ID, else 127.0.0.1, 7497 and 1. History uses the next client id, so that it can run beside a
    stream. `timeout` bounds one request, in seconds. Raises `VendorError` when the gateway or the venue is
    unreachable.
    """

    host: str = ""
    port: int = 0
    client_id: int = 0
    timeout: float = 30.0
    poll: float = 1.0
    clock: Clock = field(default_factory=SystemClock)
    retry: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(
            on=(VenueUnavailableError,), retry_after=requested_wait, attempts=8, deadline=600.0
        )
    )
    name: str = "ibkr"
    description: str = "US stocks, daily, intraday and live, from a TWS or IB Gateway (Interactive Brokers)"
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = True

    def symbols(self) -> tuple[str, ...]:
        """Return nothing: the venue has more symbols than it can list."""
        return ()

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return closed bars of the regular sessions; without `start`, back to the venue's first.

        `UnknownNameError` for a symbol that the venue does not know, `DataError` for one that trades
        elsewhere than in New York.
        """
        require_frequency(self, frequency, tuple(BAR_SIZES))
        selected = tuple(dict.fromkeys(require_symbols(self, symbols)))
        return run_coroutine(self._history(selected, start, end, frequency))

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        """Yield bars of the regular session as they close; see `marketdata.source.LiveSource`."""
        require_frequency(self, frequency, tuple(size for size in BAR_SIZES if size != "1d"))
        selected = tuple(dict.fromkeys(require_symbols(self, symbols)))
        period, link = PERIODS[frequency], _Link(partial(self._connect, self._number("client_id", 1)))

        async def fill(symbol: str, start: datetime, end: datetime) -> Sequence[Bar]:
            table = await self._bars(link, symbol, start, end, frequency)
            return list(stored_bars(table, self.name))

        doubt = GapSuspicion(self.clock)
        closed = ClosedBars(self.name, period, fill, self.clock, expects=doubt.covers)
        failures = 0
        while True:
            try:
                doubt.begin()
                async for update in self._updates(link, selected, frequency, closed):
                    failures = 0
                    for bar in await (closed.add(update) if update else closed.overdue()):
                        yield bar
            except (VenueUnavailableError, GaveUpError) as error:
                failures += 1
                log.warning("source 'ibkr': the stream dropped, connecting again: %s", error)
                trouble: Exception = error
            finally:
                closed.interrupt()
                link.close()
            await self.retry.pause(failures, trouble)

    async def _updates(
        self, link: _Link, symbols: Sequence[str], frequency: str, closed: ClosedBars
    ) -> AsyncIterator[BarUpdate | None]:
        """Yield the gateway's updates of the session's bars; None after a quiet interval."""
        queue: asyncio.Queue[BarUpdate | Exception] = asyncio.Queue()
        period, gateway = PERIODS[frequency], await link.gateway()
        requests: dict[int, str] = {}
        gateway.errorEvent += lambda request, code, text, _: _queue_error(
            queue, requests.get(request), code, text
        )
        gateway.disconnectedEvent += lambda: queue.put_nowait(
            VenueUnavailableError("the gateway closed the connection")
        )
        for symbol in symbols:
            contract = await self._contract(link, symbol)
            request_bars = partial(gateway.reqHistoricalDataAsync, contract, "", "1 D", BAR_SIZES[frequency])
            bars = await self._answer(
                link, symbol, request_bars("TRADES", True, 2, keepUpToDate=True, timeout=0)
            )
            if bars is None:
                raise VenueUnavailableError(
                    f"Interactive Brokers has no bars of '{symbol}' to keep up to date yet"
                )
            requests[bars.reqId] = symbol
            for index, bar in enumerate(bars):
                if bar_start(bar, period) + period > closed.closed_until(symbol):
                    queue.put_nowait(to_update(symbol, bar, period, final=index < len(bars) - 1))
            bars.updateEvent += partial(_queue_bar, queue, symbol, period)
        while True:
            try:
                async with asyncio.timeout(self.poll):
                    item = await queue.get()
            except TimeoutError:
                yield None
                continue
            if isinstance(item, Exception):
                raise item
            if in_regular_session(item.start, period):
                yield item

    async def _history(
        self, symbols: Sequence[str], start: datetime | None, end: datetime | None, frequency: str
    ) -> pa.Table:
        now = self.clock.now()
        last = min(end or now, now)
        link = _Link(partial(self._connect, self._number("client_id", 1) + 1))
        try:
            tables = [await self._bars(link, symbol, start, last, frequency) for symbol in symbols]
        finally:
            link.close()
        return pa.concat_tables(tables).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])

    async def _bars(
        self, link: _Link, symbol: str, start: datetime | None, end: datetime, frequency: str
    ) -> pa.Table:
        """Return the bars piece by piece, backwards from `end`; each piece is retried by itself."""
        rows: list[Any] = []
        last, quiet, what = end, timedelta(), f"source 'ibkr', {frequency} bars of '{symbol}'"
        while last >= start if start is not None else quiet < MAX_QUIET:
            piece = await self.retry.acall(partial(self._piece, link, symbol, last, frequency), what)
            quiet = timedelta() if piece else quiet + timedelta(REQUEST_DAYS[frequency])
            rows = [*piece, *rows]
            last -= timedelta(REQUEST_DAYS[frequency])
        return select_bars(session_table(symbol, rows, frequency), (symbol,), start, end)

    async def _piece(self, link: _Link, symbol: str, end: datetime, frequency: str) -> list[Any]:
        contract = await self._contract(link, symbol)
        gateway = await link.gateway()
        # The venue excludes the end, and counts bars by their beginnings.
        request = gateway.reqHistoricalDataAsync(
            contract, end, REQUEST_DURATIONS[frequency], BAR_SIZES[frequency], "TRADES", True, 2, timeout=0
        )
        return list(await self._answer(link, symbol, request) or ())

    async def _contract(self, link: _Link, symbol: str) -> Any:
        from ib_async import Stock

        if symbol in link.contracts:
            return link.contracts[symbol]
        gateway = await link.gateway()
        # The venue writes share classes with a space.
        stock = Stock(symbol.replace(".", " "), "SMART", "USD")
        details = await self._answer(link, symbol, gateway.reqContractDetailsAsync(stock))
        if not details:
            raise VenueUnavailableError(f"Interactive Brokers gives no details of '{symbol}'")
        if details[0].timeZoneId not in ZONES:
            raise DataError(
                f"'{symbol}' trades in {details[0].timeZoneId}; source 'ibkr' stamps bars by the sessions of "
                f"New York's exchanges"
            )
        link.contracts[symbol] = details[0].contract
        return details[0].contract

    async def _answer(self, link: _Link, symbol: str, request: Awaitable[Answer]) -> Answer | None:
        """Return the venue's answer, None where it has nothing; raise failures by their meaning."""
        from ib_async.wrapper import RequestError

        try:
            async with asyncio.timeout(self.timeout):
                return await request
        except RequestError as error:
            translated_error = error_for_code(symbol, error.code, error.message)
            if translated_error is not None:
                raise translated_error from error
            return None
        except TimeoutError as error:
            # Abandoned requests would pile up at the gateway, which allows fifty.
            link.close()
            raise VenueUnavailableError(f"no answer about '{symbol}' within {self.timeout:g} s") from error
        except OSError as error:
            raise VenueUnavailableError(f"the connection to the gateway broke: {error}") from error

    async def _connect(self, client_id: int) -> Any:
        from ib_async import IB
        from ib_async.ib import StartupFetchNONE

        gateway, messages = IB(), list[str]()
        gateway.RaiseRequestErrors = True
        gateway.errorEvent += lambda _, code, text, contract: messages.append(f"{code}: {text}")
        host, port = self.host or os.environ.get(HOST) or "127.0.0.1", self._number("port", 7497)
        try:
            await gateway.connectAsync(
                host, port, client_id, self.timeout, readonly=True, fetchFields=StartupFetchNONE
            )
        except (OSError, TimeoutError) as error:
            gateway.disconnect()
            reason = "; ".join(messages) or f"{type(error).__name__}: {error}"
            raise VenueUnavailableError(
                f"no connection to a gateway at {host}:{port} ({reason}); is TWS or IB Gateway running and "
                f"logged in, its API open, and client id {client_id} free?"
            ) from error
        return gateway

    def _number(self, name: Literal["port", "client_id"], default: int) -> int:
        """Return the setting, else its variable, else the default; `InputError` if it is no number."""
        value = getattr(self, name) or os.environ.get(VARIABLES[name]) or default
        try:
            return int(value)
        except ValueError as error:
            raise InputError(f"{VARIABLES[name]} is '{value}'; it must be a whole number") from error


SOURCE = IbkrSource()


class _Link:
    """One connection to the gateway, opened on first use and again after a loss."""

    def __init__(self, connect: Callable[[], Awaitable[Any]]) -> None:
        self.contracts: dict[str, Any] = {}
        self._connect = connect
        self._gateway: Any = None

    async def gateway(self) -> Any:
        if self._gateway is None or not self._gateway.isConnected():
            self._gateway = await self._connect()
        return self._gateway

    def close(self) -> None:
        if self._gateway is not None:
            self._gateway.disconnect()
            self._gateway = None


def _queue_error(
    queue: asyncio.Queue[BarUpdate | Exception], symbol: str | None, code: int, text: str
) -> None:
    """Queue an error of a subscription or of the link; notices about data farms are ignored."""
    if code in TEMPORARY_CODES or (symbol is not None and code not in NOTICE_CODES):
        error = error_for_code(symbol or "any", code, text)
        if error is not None:
            queue.put_nowait(error)


def _queue_bar(
    queue: asyncio.Queue[BarUpdate | Exception], symbol: str, period: timedelta, bars: Any, new: bool
) -> None:
    queue.put_nowait(to_update(symbol, bars[-1], period, final=False))
