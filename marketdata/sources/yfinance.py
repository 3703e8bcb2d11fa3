"""Yahoo Finance, through `yfinance`: daily and intraday bars of New York's listings.

Yahoo shows prices, volumes and dividends as if every split until today had always applied. Here they are
converted back to the traded values, and splits and dividends are returned by date beside them. Yahoo's own
adjusted close is not used: it holds the future.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from alphaloop.bars import PRICE_COLUMNS, to_datetime64
from alphaloop.clock import Clock, SystemClock
from alphaloop.errors import DataError, UnknownNameError, VendorError
from marketdata.calendars import Moments, closes_of
from marketdata.connectors.closed_bars import PERIODS
from marketdata.connectors.daily_factor import DailyFactor, actions_table
from marketdata.connectors.rate_limit import VenueUnavailableError, parse_retry_after, requested_wait
from marketdata.connectors.retry import RetryPolicy
from marketdata.connectors.session_hours import TIME_ZONE, new_york_days, regular_closes
from marketdata.point_in_time.action_record import CorporateAction
from marketdata.source import CalendarName, bars_table, require_frequency, require_symbols

CHART = "https://query2.finance.yahoo.com/v8/finance/chart/"
# Yahoo's name of a bar; the longest period of one request; and the reach of Yahoo's history.
INTERVALS = {"1d": "1d", "1m": "1m", "5m": "5m", "15m": "15m", "1h": "60m"}
MAX_REQUEST_SPANS = {"1m": timedelta(7), "5m": timedelta(59), "15m": timedelta(59), "1h": timedelta(729)}
MAX_HISTORY = {**MAX_REQUEST_SPANS, "1m": timedelta(days=29)}
BEGINNING = datetime(1900, 1, 1, tzinfo=UTC)
KINDS = ("EQUITY", "ETF", "INDEX", "MUTUALFUND")
COLUMNS = ("open", "high", "low", "close", "volume")
# HTTP statuses with an explanation by Yahoo in the body.
EXPLAINED_STATUSES = (200, 400, 404, 422)

Days = npt.NDArray[np.datetime64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Chart:
    """One answer: bars by their start, prices and volumes as Yahoo shows them, and its actions."""

    starts: npt.NDArray[np.datetime64]
    values: Mapping[str, Floats]
    splits: tuple[tuple[date, float], ...]
    dividends: tuple[tuple[date, float], ...]
    currency: str


@dataclass(frozen=True)
class YahooSource:
    """Source `yahoo`.

    `options` go to the `curl_cffi` session that carries the requests (`proxies`, `verify`); `timeout`
    bounds one of them, in seconds. Raises `VendorError` when Yahoo is unreachable or its answer malformed.
    """

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    timeout: float = 20.0
    clock: Clock = field(default_factory=SystemClock)
    retry: RetryPolicy = field(
        default_factory=lambda: RetryPolicy(on=(VenueUnavailableError,), retry_after=requested_wait)
    )
    name: str = "yahoo"
    description: str = "US stocks, funds and indices, daily and intraday, with splits and dividends (Yahoo)"
    calendar: CalendarName = "XNYS"
    adjusted_only: bool = False

    def symbols(self) -> tuple[str, ...]:
        """Return nothing: Yahoo has more symbols than it can list."""
        return ()

    def history(
        self,
        symbols: Sequence[str],
        start: datetime | None = None,
        end: datetime | None = None,
        frequency: str = "1d",
    ) -> pa.Table:
        """Return closed bars of the regular sessions.

        Yahoo keeps a month of 1m, two months of 5m and 15m, two years of 1h. Daily bars are stamped with the
        session's close, the last intraday bar of a session with its end. `UnknownNameError` for a symbol that
        Yahoo does not know, `DataError` for one that trades elsewhere than on New York's calendar.
        """
        require_frequency(self, frequency, tuple(INTERVALS))
        tables = [
            self._bars(symbol, start, end, frequency)
            for symbol in dict.fromkeys(require_symbols(self, symbols))
        ]
        return pa.concat_tables(tables).sort_by([("timestamp", "ascending"), ("symbol", "ascending")])

    def actions(
        self, symbols: Sequence[str], start: datetime | None = None, end: datetime | None = None
    ) -> pa.Table:
        """Return splits and cash dividends with `start <= ex-date <= end`; columns of `ACTIONS_SCHEMA`.

        Yahoo does not report the announcement: `published` is the beginning of the ex-date.
        """
        first = start.date() if start else date.min
        last = end.date() if end else date.max
        every = [
            action for symbol in require_symbols(self, symbols) for action in self._daily(symbol)[1].actions
        ]
        return actions_table(action for action in every if first <= action.ex_date <= last)

    def _bars(self, symbol: str, start: datetime | None, end: datetime | None, frequency: str) -> pa.Table:
        now = self.clock.now()
        first, last = start or BEGINNING, min(end or now, now)
        chart, factor = self._daily(symbol)
        starts, values = chart.starts, chart.values
        if frequency == "1d":
            closes = closes_of(new_york_days(starts).tolist())
        else:
            pieces = self._pieces(symbol, frequency, max(first, now - MAX_HISTORY[frequency]), last)
            starts, values = _joined(list(pieces))
            # Yahoo appends the current price as a bar of its own, off the grid.
            on_grid = starts == starts.astype("datetime64[m]")
            starts, values = starts[on_grid], {name: column[on_grid] for name, column in values.items()}
            closes = regular_closes(starts, PERIODS[frequency])
        keep = _within(closes, first, last) & np.isfinite(values["close"])
        days = new_york_days(starts[keep])
        scale = _split_scale(days, chart.splits)
        columns = {name: values[name][keep] * scale for name in PRICE_COLUMNS}
        columns |= {"volume": values["volume"][keep] / scale, "adjustment": factor.at(days)}
        return bars_table(symbol, closes[keep], columns)

    def _daily(self, symbol: str) -> tuple[_Chart, DailyFactor]:
        """Return all daily bars: Yahoo's prices include the splits until today."""
        now = self.clock.now()
        chart = self._chart(symbol, "1d", BEGINNING, now + timedelta(days=1))
        days = new_york_days(chart.starts)
        closed = _within(closes_of(days.tolist()), BEGINNING, now)
        known = closed & np.isfinite(chart.values["close"])
        closes = chart.values["close"] * _split_scale(days, chart.splits)
        actions = [_action(symbol, day, "split", ratio, chart.currency) for day, ratio in chart.splits]
        for day, paid in chart.dividends:
            then = float(_split_scale(np.array([day], "datetime64[D]"), chart.splits)[0])
            actions.append(_action(symbol, day, "cash_dividend", paid * then, chart.currency))
        return chart, DailyFactor(days[known], closes[known], actions)

    def _pieces(self, symbol: str, frequency: str, start: datetime, end: datetime) -> Iterator[_Chart]:
        while start < end:
            after = min(start + MAX_REQUEST_SPANS[frequency], end)
            # A bar that ends at `start` began before it, and one that ends at `after` as well.
            yield self._chart(symbol, INTERVALS[frequency], start - PERIODS[frequency], after)
            start = after

    def _chart(self, symbol: str, interval: str, start: datetime, end: datetime) -> _Chart:
        parameters = {
            "period1": int(start.timestamp()),
            "period2": int(end.timestamp()),
            "interval": interval,
            "includePrePost": "false",
            "events": "div,splits",
        }
        what = f"source '{self.name}', {interval} bars of '{symbol}'"
        return self.retry.call(lambda: _parsed(symbol, self._response(symbol, parameters)), what)

    def _response(self, symbol: str, parameters: Mapping[str, Any]) -> Any:
        """Return the answer's JSON.

        yfinance takes care of cookie and crumb; its cache is not used, as it would keep failures too.
        """
        from curl_cffi.requests.exceptions import RequestException
        from yfinance.data import YfData
        from yfinance.exceptions import YFException, YFRateLimitError

        try:
            data = YfData(session=self._session)
            answer = data.get(CHART + quote(symbol, safe=""), params=parameters, timeout=self.timeout)
            if answer.status_code in EXPLAINED_STATUSES:
                return answer.json()
        except YFRateLimitError as error:
            raise VenueUnavailableError("Yahoo answers 429, too many requests", self._advised()) from error
        except YFException as error:
            raise VendorError(f"yfinance failed on '{symbol}': {error}") from error
        except (RequestException, OSError) as error:
            raise VenueUnavailableError(
                f"Yahoo cannot be reached: {type(error).__name__}: {error}"
            ) from error
        except ValueError as error:
            raise VenueUnavailableError(f"Yahoo's answer for '{symbol}' is no JSON: {error}") from error
        raise VenueUnavailableError(f"Yahoo answers {answer.status_code}", self._advised())

    def _advised(self) -> float | None:
        return parse_retry_after(self._session.last_headers.get("Retry-After"), self.clock)

    @cached_property
    def _session(self) -> Any:
        """Session as yfinance makes one, which keeps the last headers: yfinance drops those of a 429."""
        from curl_cffi.requests import Session

        class RememberingSession(Session):  # type: ignore[type-arg]
            last_headers: Mapping[str, str | None] = MappingProxyType({})

            def request(self, *arguments: Any, **options: Any) -> Any:
                answer = super().request(*arguments, **options)
                self.last_headers = answer.headers
                return answer

        return RememberingSession(**{"impersonate": "chrome", **self.options})


SOURCE = YahooSource()


def _joined(pieces: Sequence[_Chart]) -> tuple[Moments, dict[str, Floats]]:
    none: Floats = np.array([])
    starts: Moments = np.concatenate([np.array([], "datetime64[ns]"), *(piece.starts for piece in pieces)])
    return starts, {
        name: np.concatenate([none, *(piece.values[name] for piece in pieces)]) for name in COLUMNS
    }


def _parsed(symbol: str, body: Any) -> _Chart:
    """Parse Yahoo's answer; `VendorError` where it does not follow the schema."""
    try:
        chart = body["chart"]
        if chart.get("error"):
            raise _refusal(symbol, chart["error"])
        result = chart["result"][0]
        meta, quotes = result["meta"], result["indicators"]["quote"][0]
        _require_new_york(symbol, meta)
        seconds = np.array(result.get("timestamp") or [], dtype=np.int64)
        values = {name: np.array(quotes.get(name) or [], dtype=np.float64) for name in COLUMNS}
        events = result.get("events") or {}
        splits = [
            (_day(event["date"]), float(event["numerator"]) / float(event["denominator"]))
            for event in (events.get("splits") or {}).values()
        ]
        dividends = [
            (_day(event["date"]), float(event["amount"]))
            for event in (events.get("dividends") or {}).values()
        ]
        currency = str(meta["currency"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise VendorError(
            f"Yahoo's answer for '{symbol}' makes no sense ({type(error).__name__}: {error}); "
            "try a newer yfinance"
        ) from error
    if any(len(column) != len(seconds) for column in values.values()):
        raise VendorError(f"Yahoo's answer for '{symbol}' makes no sense: its columns differ in length")
    return _Chart(
        seconds.astype("datetime64[s]").astype("datetime64[ns]"),
        values,
        tuple(sorted(set(splits))),
        tuple(sorted(set(dividends))),
        currency,
    )


def _refusal(symbol: str, error: Mapping[str, Any]) -> Exception:
    code, description = error.get("code"), error.get("description")
    if code == "Not Found":
        hint = f"Yahoo says: {description}; look the symbol up on finance.yahoo.com"
        return UnknownNameError("symbol", symbol, (), where="source 'yahoo'", hint=hint)
    return VendorError(f"Yahoo refuses the bars of '{symbol}': {code}: {description}")


def _require_new_york(symbol: str, meta: Mapping[str, Any]) -> None:
    zone, kind = meta["exchangeTimezoneName"], meta["instrumentType"]
    if zone != TIME_ZONE or kind not in KINDS:
        raise DataError(
            f"'{symbol}' ({kind}) trades in {zone}; source 'yahoo' stamps bars by the sessions of "
            f"New York's exchanges, so it has only: {', '.join(KINDS)} of {TIME_ZONE}"
        )


def _action(
    symbol: str, day: date, kind: Literal["split", "cash_dividend"], value: float, currency: str
) -> CorporateAction:
    published = datetime.combine(day, time.min, ZoneInfo(TIME_ZONE)).astimezone(UTC)
    return CorporateAction(symbol, day, published, kind, value, currency, timezone=TIME_ZONE)


def _split_scale(days: Days, splits: Sequence[tuple[date, float]]) -> Floats:
    """Return Yahoo's divisor of each day's prices: the splits that came after it, `[T]`."""
    scale = np.ones(len(days))
    for day, ratio in splits:
        scale[days < np.datetime64(day, "D")] *= ratio
    return scale


def _within(closes: Moments, start: datetime, end: datetime) -> npt.NDArray[np.bool_]:
    """Return True for closes in `[start, end]`; each close once, and NaT never."""
    inside = (closes >= to_datetime64(start)) & (closes <= to_datetime64(end))
    first = np.zeros(len(closes), dtype=bool)
    first[np.unique(closes, return_index=True)[1]] = True
    kept: npt.NDArray[np.bool_] = inside & first
    return kept


def _day(seconds: float) -> date:
    return datetime.fromtimestamp(seconds, ZoneInfo(TIME_ZONE)).date()
