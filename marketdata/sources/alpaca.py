"""Alpaca's US stocks, through `alpaca-py`: bars and corporate actions over REST, minutes over websocket.

The SDK's own loops are not used: its retries ignore Retry-After and wait for ever on a silent server, and
its stream loses the rest of a frame after one unreadable message, and reconnects for ever with refused
credentials. Requests, login and subscription are the SDK's.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property, partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from alphaloop.bars import Bar
from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import InputError, UnknownNameError, VendorError
from alphaloop.runtime.credentials import Secret, read_secret, redact_secrets
from marketdata.connectors.closed_bars import PERIODS, ClosedBars, history_fill
from marketdata.connectors.daily_factor import DailyFactor, actions_table
from marketdata.connectors.gap_suspicion import GapSuspicion
from marketdata.connectors.live_adjustment import LiveAdjustment
from marketdata.connectors.rate_limit import VenueUnavailableError, parse_retry_after, requested_wait
from marketdata.connectors.retry import GaveUpError, RetryPolicy
from marketdata.connectors.session_hours import TIME_ZONE, in_regular_session
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.source import CalendarName, require_frequency, require_symbols, select_bars
from marketdata.sources.alpaca_messages import BarRow, parse_actions, parse_bar_row, session_bars
from marketdata.sources.alpaca_socket import AlpacaSocket

KEY, SECRET = "APCA_API_KEY_ID", "APCA_API_SECRET_KEY"
FEED = "APCA_DATA_FEED"
FEEDS = ("iex", "sip")
TIMEFRAMES = {"1m": (1, "Min"), "5m": (5, "Min"), "15m": (15, "Min"), "1h": (1, "Hour"), "1d": (1, "Day")}
# Alpaca's history begins here.
BEGINNING = datetime(2016, 1, 1, tzinfo=UTC)
ACTION_TYPES = "forward_split,reverse_split,cash_dividend,stock_dividend"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AlpacaSource:
    """Source `alpaca`, with credentials in APCA_API_KEY_ID and APCA_API_SECRET_KEY (or files, with _FILE).

    `feed` is `iex` (free) or `sip` (every exchange), by default APCA_DATA_FEED, else `iex`. `rest_url`
    and `stream_url` override Alpaca's; `timeout` bounds one request, in seconds. Raises `VendorError`
    when Alpaca is unreachable or refuses the credentials, and never shows them.
    """

    feed: str = ""
    rest_url: str | None = None
    stream_url: str | None = None
    timeout: float = 20.0
    clock: Clock = field(default_factory=SystemClock)
    retry: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(on=(VenueUnavailableError,), retry_after=requested_wait)
    )
    name: str = "alpaca"
    description: str = "US stocks, daily, intraday and live, with splits and dividends since 2016 (Alpaca)"
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = False

    @property
    def identity(self) -> str:
        """The name, and the feed unless it is the free one, which has one exchange's bars."""
        return self.name if self._feed == FEEDS[0] else f"{self.name}?feed={self._feed}"

    def symbols(self) -> tuple[str, ...]:
        """Return nothing: Alpaca has more symbols than it lists with its data."""
        return ()

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return closed bars of the regular sessions, with the forward factor of splits and dividends.

        Alpaca cuts hours by the clock, so a session's first one includes half an hour of trading before it. A
        minute without a trade has no bar. `UnknownNameError` for a symbol that has no bar at all.
        """
        require_frequency(self, frequency, tuple(TIMEFRAMES))
        selected = tuple(dict.fromkeys(require_symbols(self, symbols)))
        now = self.clock.now()
        first, last = start or BEGINNING, min(end or now, now)
        # A bar that ends at `first` began before it.
        rows = self._rows(selected, first - PERIODS[frequency], last, frequency)
        self._require_known([symbol for symbol in selected if not rows.get(symbol)])
        factors = self._factors(selected)
        tables = [
            session_bars(symbol, rows.get(symbol, []), frequency, factors[symbol]) for symbol in selected
        ]
        bars = pa.concat_tables(tables).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
        return select_bars(bars, selected, first, last)

    def actions(
        self, symbols: Sequence[str], start: datetime | None = None, end: datetime | None = None
    ) -> pa.Table:
        """Return splits, cash and stock dividends with `start <= ex-date <= end`, as `ACTIONS_SCHEMA`.

        Alpaca does not report the announcement: `published` is the beginning of the ex-date. Spin-offs are
        left out, as their worth is not reported.
        """
        first = start.date() if start else date.min
        last = end.date() if end else date.max
        every = self._actions(require_symbols(self, symbols))
        return actions_table(action for action in every if first <= action.ex_date <= last)

    async def stream(self, symbols: Sequence[str], frequency: str = "1m") -> AsyncIterator[Bar]:
        """Yield minute bars of the regular session as they close; see `marketdata.source.LiveSource`."""
        require_frequency(self, frequency, ("1m",))
        selected = tuple(dict.fromkeys(require_symbols(self, symbols)))
        doubt = GapSuspicion(self.clock)
        fill = history_fill(self, frequency)
        closed = ClosedBars(self.name, PERIODS[frequency], fill, self.clock, expects=doubt.covers)
        adjustment = LiveAdjustment(partial(self._factors, selected))

        failures = refused = 0
        while True:
            socket = self._socket(selected, closed.refuse)
            try:
                await socket.open()
                doubt.begin()
                for symbol in selected:
                    for bar in await closed.resume(symbol):
                        yield bar
                async for update in socket.updates():
                    failures = 0
                    if closed.counts["refused"] != refused:
                        refused = closed.counts["refused"]
                        doubt.begin()
                    if not in_regular_session(update.start, PERIODS[frequency]):
                        continue
                    await adjustment.prepare(update.start)
                    for bar in await closed.add(update):
                        yield adjustment.adjusted(bar)
            except (VenueUnavailableError, GaveUpError) as error:
                failures += 1
                log.warning("source 'alpaca': the stream dropped, connecting again: %s", error)
                trouble: Exception = error
            finally:
                closed.interrupt()
                await socket.close()
            await self.retry.pause(failures, trouble)

    def _socket(self, symbols: Sequence[str], refuse: Callable[[str, str], None]) -> AlpacaSocket:
        from alpaca.data.enums import DataFeed
        from alpaca.data.live import StockDataStream

        # At level DEBUG, websockets logs everything that it sends, the secret included.
        silent = logging.getLogger(f"{__name__}.websocket")
        silent.setLevel(logging.INFO)
        options = {"ping_interval": 10, "ping_timeout": 20, "close_timeout": 1, "max_queue": 1024}
        key, value = self._secrets
        stream = StockDataStream(
            *(key.reveal(), value.reveal()),
            raw_data=True,
            feed=DataFeed(self._feed),
            websocket_params={**options, "logger": silent},
            url_override=self.stream_url,
        )
        stream.subscribe_bars(_unused, *symbols)
        return AlpacaSocket(stream, symbols, refuse, self._hidden, self.timeout)

    def _rows(
        self, symbols: Sequence[str], start: datetime, end: datetime, frequency: str
    ) -> dict[str, list[BarRow]]:
        """Return bars as Alpaca cuts them, by symbol."""
        from alpaca.data.enums import Adjustment, DataFeed
        from alpaca.data.requests import StockBarsRequest
        from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

        amount, unit = TIMEFRAMES[frequency]
        request = StockBarsRequest(
            symbol_or_symbols=list(symbols),
            timeframe=TimeFrame(amount, TimeFrameUnit(unit)),
            start=start,
            end=end,
            adjustment=Adjustment.RAW,
            feed=DataFeed(self._feed),
        )
        rows: dict[str, list[BarRow]] = {}
        for page in self._pages("/stocks/bars", {**request.to_request_fields(), "limit": 10_000}):
            for symbol, bars in (page.get("bars") or {}).items():
                rows.setdefault(symbol, []).extend(parse_bar_row(row) for row in bars)
        return rows

    def _actions(self, symbols: Sequence[str]) -> list[CorporateAction]:
        today = self.clock.now().date()
        fields = {
            "symbols": ",".join(symbols),
            "types": ACTION_TYPES,
            "start": BEGINNING.date().isoformat(),
            "end": (today + timedelta(days=1)).isoformat(),
            "limit": 1000,
        }
        pages = self._pages("/corporate-actions", fields, "v1")
        return [action for page in pages for action in parse_actions(page)]

    def _factors(self, symbols: Sequence[str]) -> dict[str, DailyFactor]:
        """Return each symbol's factor; daily closes are requested only for symbols with an action."""
        actions = self._actions(symbols)
        acted = sorted({action.symbol for action in actions})
        now = self.clock.now()
        rows = self._rows(acted, BEGINNING, now, "1d") if acted else {}
        factors = {}
        for symbol in symbols:
            known = [row for row in rows.get(symbol, []) if row[0] < now - timedelta(days=1)]
            days = np.array([row[0].astimezone(ZoneInfo(TIME_ZONE)).date() for row in known], "datetime64[D]")
            closes = np.array([row[4] for row in known])
            factors[symbol] = DailyFactor(
                days, closes, [action for action in actions if action.symbol == symbol]
            )
        return factors

    def _require_known(self, symbols: Sequence[str]) -> None:
        """Raise `UnknownNameError` for a symbol without a latest bar at Alpaca."""
        if not symbols:
            return
        fields = {"symbols": ",".join(symbols), "feed": self._feed}
        latest = next(self._pages("/stocks/bars/latest", fields)).get("bars") or {}
        for symbol in symbols:
            if symbol not in latest:
                hint = "Alpaca has no bar of it; look the symbol up among the account's assets"
                raise UnknownNameError("symbol", symbol, (), where="source 'alpaca'", hint=hint)

    def _pages(self, path: str, fields: Mapping[str, Any], version: str = "v2") -> Iterator[dict[str, Any]]:
        """Yield each page of an answer; each is retried by itself."""
        token: str | None = None
        while True:
            parameters = {**fields, "page_token": token}
            page = self.retry.call(lambda: self._page(path, parameters, version), f"source 'alpaca', {path}")  # noqa: B023
            yield page
            if page.get("next_page_token") in (None, "", token):
                return
            token = page["next_page_token"]

    def _page(self, path: str, fields: Mapping[str, Any], version: str) -> dict[str, Any]:
        from alpaca.common.exceptions import APIError
        from requests import RequestException

        try:
            page = self._client.get(path, dict(fields), api_version=version)
        except APIError as error:
            raise self._refused(error) from self._hidden(error)
        except RequestException as error:
            hidden = self._hidden(error)
            raise VenueUnavailableError(
                f"Alpaca cannot be reached: {type(error).__name__}: {hidden}"
            ) from hidden
        if not isinstance(page, dict):
            raise VendorError(f"Alpaca's answer to {path} makes no sense: it is a {type(page).__name__}")
        return page

    def _refused(self, error: Any) -> Exception:
        """Return the error for an answer with an error status."""
        status, headers = error.status_code, error.response.headers
        text = f"Alpaca answers {status}: {str(self._hidden(error))[:200]}"
        if status in (401, 403):
            return VendorError(
                f"{text}; check {KEY} and {SECRET}, and that the account has the feed '{self._feed}' ({FEED})"
            )
        if status == 429 or status >= 500:
            return VenueUnavailableError(text, parse_retry_after(headers.get("Retry-After"), self.clock))
        return InputError(text)

    @cached_property
    def _client(self) -> Any:
        from alpaca.data.historical import StockHistoricalDataClient

        key, value = self._secrets
        client: Any = StockHistoricalDataClient(key.reveal(), value.reveal(), url_override=self.rest_url)
        # The SDK would wait three seconds regardless of Retry-After, and for ever on a silent server.
        client._retry = 0
        client._session.request = partial(client._session.request, timeout=self.timeout)
        return client

    @cached_property
    def _secrets(self) -> tuple[Secret, Secret]:
        return read_secret(KEY), read_secret(SECRET)

    @cached_property
    def _feed(self) -> str:
        feed = self.feed or os.environ.get(FEED, "") or FEEDS[0]
        if feed not in FEEDS:
            raise UnknownNameError("feed", feed, FEEDS, where=f"source 'alpaca' ({FEED})")
        return feed

    def _hidden(self, error: BaseException) -> BaseException:
        """Return `error` without the secrets in its texts and in the variables of its frames."""
        hidden = redact_secrets(error, self._secrets)
        links: list[BaseException | None] = [hidden]
        while links:
            if (link := links.pop()) is not None:
                link.with_traceback(None)
                links += [link.__cause__, link.__context__]
        return hidden


SOURCE = AlpacaSource()


async def _unused(message: Any) -> None:
    """Do nothing: the SDK requires a handler, but messages are read from the socket directly."""
