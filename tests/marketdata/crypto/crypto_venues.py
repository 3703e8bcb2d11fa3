"""Binance and Kraken on loopback: their REST and websocket wire protocols, with faults on demand.

The market is a formula: the candle of a symbol and a minute is always the same, so that every bar
that comes out can be held against the truth. The server's time is that of the clock it is given.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import WSMsgType, web

from alphaloop.bars import Bar
from alphaloop.clock import Clock

MINUTE = 60_000
BASES = tuple(f"C{index:02d}" for index in range(60))
PAGE = 100


@dataclass(frozen=True)
class Candle:
    """One minute of one market; `opened` in milliseconds."""

    opened: int
    open: float
    high: float
    low: float
    close: float
    volume: float

    def bar(self, symbol: str, provider: str, period: int = MINUTE) -> Bar:
        close = datetime.fromtimestamp((self.opened + period) / 1000, UTC)
        return Bar(symbol, close, self.close, self.open, self.high, self.low, self.volume, provider=provider)


def truth(base: str, opened: int, period: int = MINUTE) -> Candle:
    """The candle of a symbol at a time: prices with two decimals, never twice the same."""
    step = opened // period % 10_000
    price = round(100.0 + BASES.index(base) + step / 100, 2)
    return Candle(
        opened, price, round(price + 0.5, 2), round(price - 0.5, 2), round(price + 0.2, 2), 5.0 + step
    )


@dataclass
class Venue:
    """A server in a thread of its own. `faults` are answered before anything else, first come first."""

    clock: Clock
    faults: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    always: tuple[int, dict[str, str], str] | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    pongs: int = 0
    subscribed: list[set[str]] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    born: datetime = datetime(2010, 1, 1, tzinfo=UTC)

    quote = "USDT"
    routes: tuple[tuple[str, str], ...] = ()

    def __enter__(self) -> Venue:
        self._loop = asyncio.new_event_loop()
        self._sockets: list[web.WebSocketResponse] = []
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *exception: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def symbols(self) -> list[str]:
        return [f"{base}/{self.quote}" for base in BASES]

    def now(self) -> int:
        return int(self.clock.now().timestamp() * 1000)

    def send(self, message: Any) -> None:
        """A message on the open socket; text goes as it is."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._do(self._send(text))

    def burst(self, messages: list[Any]) -> None:
        """Many messages, as fast as the line takes them."""
        self._do(self._burst([json.dumps(message) for message in messages]))

    def settle(self) -> None:
        """Until the client has handled what was sent: it answers a ping after that, and not before."""
        before = self.pongs
        self._do(self._sockets[-1].ping())
        self.wait(lambda: self.pongs > before)

    def drop(self) -> None:
        """Cut the open socket, as a failing network does: no goodbye."""
        self._do(self._cut())

    def wait(self, ready: Callable[[], bool], seconds: float = 20.0) -> None:
        """Until something holds of this server; an error if it never does."""
        with self._changed:
            if not self._changed.wait_for(ready, seconds):
                raise TimeoutError(f"{self.connections} connections, subscribed {self.subscribed}")

    def candles(self, base: str, period: int, since: int) -> list[Candle]:
        """From the first that opens at or after `since` to the one that is still open."""
        since = max(since, int(self.born.timestamp() * 1000))
        first = -(-since // period) * period
        return [truth(base, opened, period) for opened in range(first, self.now() + 1, period)]

    def handlers(self) -> list[tuple[str, Callable[[web.Request], Any]]]:
        raise NotImplementedError

    async def told(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        raise NotImplementedError

    def note(self, change: Callable[[], Any]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(10)

    async def _start(self) -> None:
        app = web.Application(middlewares=[self._faulty])
        for path, handler in self.handlers():
            app.router.add_get(path, handler)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"

    async def _stop(self) -> None:
        await self._cut()
        await self._runner.cleanup()

    async def _cut(self) -> None:
        sockets, self._sockets = self._sockets, []
        for socket in sockets:
            transport = socket._req.transport if socket._req else None
            if transport:
                transport.abort()

    async def _send(self, text: str) -> None:
        await self._sockets[-1].send_str(text)

    async def _burst(self, texts: list[str]) -> None:
        for text in texts:
            await self._sockets[-1].send_str(text)

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
        if request.headers.get("Upgrade"):
            response: web.StreamResponse = await handler(request)
            return response
        self.note(lambda: self.requests.append({"path": request.path, **request.query}))
        fault = self.always or (self.faults.pop(0) if self.faults else None)
        if fault:
            status, headers, body = fault
            return web.Response(status=status, headers=headers, text=body, content_type="application/json")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        self._sockets.append(socket)
        self.note(lambda: (self.subscribed.append(set()), setattr(self, "connections", self.connections + 1)))
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await self.told(socket, json.loads(message.data))
            elif message.type == WSMsgType.PING:
                await socket.pong(message.data)
            elif message.type == WSMsgType.PONG:
                self.note(lambda: setattr(self, "pongs", self.pongs + 1))
        return socket


class Binance(Venue):
    """Spot: exchangeInfo, klines, depth; streams kline, trade and depth."""

    provider = "ccxt:binance"

    def configuration(self) -> dict[str, Any]:
        api = {"public": f"{self.url}/api/v3", "sapi": f"{self.url}/sapi/v1"}
        socket = {"spot": f"ws://127.0.0.1:{self.port}/ws"}
        return {"urls": {"api": {**api, "ws": socket}}, "rateLimit": 1, "timeout_on_exit": 0}

    def handlers(self) -> list[tuple[str, Callable[[web.Request], Any]]]:
        return [
            ("/api/v3/exchangeInfo", self.info),
            ("/api/v3/klines", self.klines),
            ("/api/v3/depth", self.depth),
            ("/sapi/v1/capital/config/getall", self.account),
            ("/ws/{index}", self.socket),
        ]

    async def info(self, request: web.Request) -> web.Response:
        markets = [
            {
                "symbol": f"{base}USDT",
                "status": "TRADING",
                "baseAsset": base,
                "quoteAsset": "USDT",
                "filters": [],
            }
            for base in BASES
        ]
        return web.json_response({"timezone": "UTC", "symbols": markets})

    async def klines(self, request: web.Request) -> web.Response:
        base = request.query["symbol"].removesuffix("USDT")
        period = {"1m": MINUTE, "1d": 1440 * MINUTE}[request.query["interval"]]
        candles = self.candles(base, period, int(request.query["startTime"]))
        rows = [self.row(one, period) for one in candles[: min(PAGE, int(request.query["limit"]))]]
        return web.json_response(rows)

    @staticmethod
    def row(one: Candle, period: int) -> list[Any]:
        values = [f"{value:.8f}" for value in (one.open, one.high, one.low, one.close, one.volume)]
        return [one.opened, *values, one.opened + period - 1, "0", 10, "0", "0", "0"]

    async def depth(self, request: web.Request) -> web.Response:
        base = request.query["symbol"].removesuffix("USDT")
        price = 100.0 + BASES.index(base)
        bids = [[f"{price - level:.2f}", "2.0"] for level in range(1, 9)]
        asks = [[f"{price + level:.2f}", "3.0"] for level in range(1, 9)]
        return web.json_response({"lastUpdateId": 1000, "bids": bids, "asks": asks})

    async def account(self, request: web.Request) -> web.Response:
        key = request.headers.get("X-MBX-APIKEY", "")
        return web.json_response({"code": -2014, "msg": f"API-key format invalid: {key}."}, status=401)

    async def told(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        await socket.send_json({"result": None, "id": message["id"]})
        self.note(lambda: self.subscribed[-1].update(message["params"]))

    def kline(self, base: str, opened: int, final: bool, close: float | None = None) -> dict[str, Any]:
        """The wire message of a candle; while it is open its close is another."""
        one = truth(base, opened)
        last = one.close if close is None else close
        told = {"t": opened, "T": opened + MINUTE - 1, "s": f"{base}USDT", "i": "1m", "x": final, "n": 9}
        told |= {"o": str(one.open), "h": str(one.high), "l": str(one.low), "c": str(last)}
        return {"e": "kline", "E": self.now(), "s": f"{base}USDT", "k": told | {"v": str(one.volume)}}

    def trade(self, base: str, number: int, moment: int, price: float, seller: bool) -> dict[str, Any]:
        told = {"e": "trade", "E": moment, "s": f"{base}USDT", "t": number, "p": str(price), "q": "2.5"}
        return told | {"T": moment, "m": seller, "M": True}

    def update(self, base: str, first: int, last: int, bids: Any, asks: Any) -> dict[str, Any]:
        told = {"e": "depthUpdate", "E": self.now(), "s": f"{base}USDT", "U": first, "u": last}
        return told | {"b": bids, "a": asks}


class Kraken(Venue):
    """Spot: Assets, AssetPairs, OHLC; websocket version 2: ohlc, trade, book."""

    provider = "ccxt:kraken"
    quote = "USD"

    def configuration(self) -> dict[str, Any]:
        api = {"public": self.url, "private": self.url}
        socket = {"publicV2": f"ws://127.0.0.1:{self.port}/v2"}
        return {"urls": {"api": {**api, "ws": socket}}, "rateLimit": 1, "timeout_on_exit": 0}

    def handlers(self) -> list[tuple[str, Callable[[web.Request], Any]]]:
        return [
            ("/0/public/Assets", self.assets),
            ("/0/public/AssetPairs", self.pairs),
            ("/0/public/OHLC", self.ohlc),
            ("/v2", self.socket),
        ]

    async def assets(self, request: web.Request) -> web.Response:
        names = (*BASES, "ZUSD")
        told = {
            name: {
                "aclass": "currency",
                "altname": name.removeprefix("Z"),
                "decimals": 8,
                "status": "enabled",
            }
            for name in names
        }
        return web.json_response({"error": [], "result": told})

    async def pairs(self, request: web.Request) -> web.Response:
        told = {
            f"{base}USD": {
                "altname": f"{base}USD",
                "wsname": f"{base}/USD",
                "base": base,
                "quote": "ZUSD",
                "pair_decimals": 2,
                "lot_decimals": 8,
                "fees": [[0, 0.26]],
                "fees_maker": [[0, 0.16]],
                "leverage_buy": [],
                "status": "online",
            }
            for base in BASES
        }
        return web.json_response({"error": [], "result": told})

    async def ohlc(self, request: web.Request) -> web.Response:
        pair = request.query["pair"]
        period = int(request.query["interval"]) * MINUTE
        since = int(request.query.get("since", 0)) * 1000
        latest = self.now() // period * period
        # Kraken gives the last 720 candles after `since`, and nothing older whatever is asked.
        first = max(since + 1, latest - 719 * period)
        candles = self.candles(pair.removesuffix("USD"), period, first)
        told = {pair: [self.row(one) for one in candles], "last": latest // 1000}
        return web.json_response({"error": [], "result": told})

    @staticmethod
    def row(one: Candle) -> list[Any]:
        values = [f"{value:.2f}" for value in (one.open, one.high, one.low, one.close, one.close)]
        return [one.opened // 1000, *values, f"{one.volume:.8f}", 7]

    async def told(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        if message["method"] == "ping":
            await socket.send_json({"method": "pong", "req_id": 1})
            return
        told = message["params"]
        for symbol in told["symbol"]:
            result = {"channel": told["channel"], "symbol": symbol, "snapshot": True}
            answer = {"method": "subscribe", "result": result, "success": True, "req_id": message["req_id"]}
            await socket.send_json(answer)
        if told["channel"] == "ohlc":
            for symbol in told["symbol"]:
                opened = self.now() // MINUTE * MINUTE
                past = [truth(symbol.split("/")[0], opened - ago * MINUTE) for ago in (2, 1)]
                await socket.send_json(self.candle(symbol, past, "snapshot"))
        self.note(lambda: self.subscribed[-1].update(told["symbol"]))

    def candle(self, symbol: str, candles: list[Candle], kind: str = "update") -> dict[str, Any]:
        """The wire message of candles."""
        told = [
            {
                "symbol": symbol,
                "open": one.open,
                "high": one.high,
                "low": one.low,
                "close": one.close,
                "trades": 7,
                "volume": one.volume,
                "vwap": one.close,
                "interval_begin": iso(one.opened),
                "interval": 1,
                "timestamp": iso(one.opened + MINUTE),
            }
            for one in candles
        ]
        return {"channel": "ohlc", "type": kind, "timestamp": iso(self.now()), "data": told}

    def trade(self, symbol: str, number: int, moment: int, price: float, side: str) -> dict[str, Any]:
        told = {"symbol": symbol, "side": side, "price": price, "qty": 2.5, "ord_type": "market"}
        one = told | {"trade_id": number, "timestamp": iso(moment)}
        return {"channel": "trade", "type": "update", "data": [one]}

    def book(
        self, symbol: str, kind: str, bids: dict[float, float], asks: dict[float, float]
    ) -> dict[str, Any]:
        sides = [[{"price": price, "qty": size} for price, size in side.items()] for side in (bids, asks)]
        one = {"symbol": symbol, "bids": sides[0], "asks": sides[1], "checksum": 1}
        if kind == "update":
            one["timestamp"] = iso(self.now())
        return {"channel": "book", "type": kind, "data": [one]}


def iso(milliseconds: int) -> str:
    """As Kraken writes times."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
