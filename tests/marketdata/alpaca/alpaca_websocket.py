"""Alpaca's websocket on loopback: it greets, asks who is there, and then follows a script."""

from __future__ import annotations

import asyncio
from typing import Any

import msgpack
from websockets.asyncio.server import ServerConnection, serve

from alphaloop.bars import Bar
from marketdata.sources.alpaca import AlpacaSource

from .alpaca_venue import KEY, MINUTE, OPEN, SECRET, Script, Venue, live


async def collected(alpaca: AlpacaSource, venue: Venue, count: int, symbols: tuple[str, ...]) -> list[Bar]:
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
