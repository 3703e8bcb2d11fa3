"""A provider of bars over TCP, to be started as a program and mistreated.

Speaks JSON lines. `{"stream": [symbols]}` gives every bar as it closes, `{"history": [symbols, first,
last]}` the bars with these numbers, `{"fault": kind}` sets what it does wrong from then on. The bar with
number k closes k periods after 1970; what it is worth follows from its number, so anyone can check it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time


def close_of(symbol: str, number: int) -> float:
    """The true close: a price that moves a little, never more than a few hundredths of a percent."""
    return round(100.0 + 10.0 * len(symbol) + 0.01 * ((number * 7 + len(symbol)) % 5), 4)


class Server:
    """Serves every bar of the true market, unless a fault is set."""

    def __init__(self, period_ms: int) -> None:
        self.period_ms, self.fault = period_ms, ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            if "fault" in asked:
                self.fault = asked["fault"]
                writer.write(b"{}\n")
            elif "history" in asked:
                symbols, first, last = asked["history"]
                last = min(last, self.now() // self.period_ms)
                rows = [self.row(symbol, number) for number in range(first, last + 1) for symbol in symbols]
                writer.write(json.dumps(rows).encode() + b"\n")
            else:
                await self.stream(asked["stream"], writer)
            await writer.drain()
        except (ConnectionError, asyncio.CancelledError, ValueError):
            pass
        finally:
            writer.close()

    async def stream(self, symbols: list[str], writer: asyncio.StreamWriter) -> None:
        number = self.now() // self.period_ms + 1
        while True:
            late = 1.6 * self.period_ms if self.fault == "delay" else 0
            await asyncio.sleep(max(number * self.period_ms + late - self.now(), 0) / 1000)
            for symbol in symbols:
                writer.write(self.frame(symbol, number) + b"\n")
            await writer.drain()
            number += 1

    def frame(self, symbol: str, number: int) -> bytes:
        row = self.row(symbol, number)
        if self.fault == "subtle":
            row["close"] *= 1.004
        if self.fault == "corrupt":
            kind = number % 6
            if kind == 0:
                row["close"] *= 1000
            elif kind == 1:
                row["close"] = float("nan")
            elif kind == 2:
                row["symbol"] = "ZZZ"
            elif kind == 3:
                return b'{"symbol": "' + bytes([0xFF, 0x00, 0x7B])
            elif kind == 4:
                row["number"] += 10**9
            else:
                row["close"] /= 1000
        return json.dumps(row).encode()

    def row(self, symbol: str, number: int) -> dict[str, object]:
        return {"symbol": symbol, "number": number, "close": close_of(symbol, number)}

    @staticmethod
    def now() -> int:
        return time.time_ns() // 1_000_000


async def _main(period_ms: int) -> None:
    server = await asyncio.start_server(Server(period_ms).serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1])))
