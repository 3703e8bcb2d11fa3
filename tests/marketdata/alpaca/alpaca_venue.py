"""What Alpaca's servers hold, and its REST on loopback: bars, latest bars and corporate actions."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgpack
from websockets.asyncio.server import ServerConnection

from alphaloop.clock import ReplayClock

KEY, SECRET = "PKTESTKEY0123456789", "s3cr3t/abcDEF+9876543210"
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
        return {"bars": {symbol: row_of(OPEN, 1.0) for symbol in known}}

    def daily(self) -> list[dict[str, Any]]:
        starts = [datetime.fromisoformat(f"{day}T04:00:00+00:00") for day in DAYS]
        return [row_of(start, close) for start, close in zip(starts, CLOSES, strict=True)]

    def minutes(self) -> list[dict[str, Any]]:
        starts = [OPEN - 3 * MINUTE + MINUTE * place for place in range(60)]
        return [
            row_of(start, price(start))
            for start in starts
            if start not in self.quiet and start + MINUTE <= self.clock.now()
        ]


def price(start: datetime) -> float:
    """What every symbol is worth in the minute that begins at `start`."""
    return 100.0 + (start - OPEN) / MINUTE


def row_of(start: datetime, close: float) -> dict[str, Any]:
    """A bar as REST tells it."""
    values = {"o": close, "h": close + 1, "l": close - 0.5, "c": close, "v": 1000, "n": 7, "vw": close}
    return {"t": start.strftime("%Y-%m-%dT%H:%M:%SZ"), **values}


def live(symbol: str, start: datetime, **changed: Any) -> dict[str, Any]:
    """A minute as the websocket tells it."""
    time = msgpack.Timestamp.from_datetime(start)
    return {**row_of(start, price(start)), "T": "b", "S": symbol, "t": time, **changed}


def handler_of(venue: Venue) -> type[BaseHTTPRequestHandler]:
    """What answers REST from this venue."""

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
