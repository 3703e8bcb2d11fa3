"""A gateway of Interactive Brokers: the protocol of TWS on loopback, with faults on demand."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from alphaloop.clock import ReplayClock
from marketdata.calendars import session_closes

# Ten in the morning in New York, on a Friday.
OPEN = datetime(2020, 9, 11, 14, tzinfo=UTC)
MINUTE, BASE = timedelta(minutes=1), 1e6
SIZES = {"1 min": 1, "5 mins": 5, "15 mins": 15, "1 hour": 60}
LENGTHS = {"7 D": 7, "30 D": 30, "1 D": 1, "1 Y": 365}


def price(start: datetime) -> float:
    """What every symbol is worth in the minute that begins at `start`."""
    return BASE + (start - OPEN) / MINUTE


def framed(*fields: Any) -> bytes:
    """A message of TWS: its length, and its fields with a zero after each."""
    content = "".join(f"{one}\0" for one in fields).encode()
    return struct.pack(">I", len(content)) + content


@dataclass
class Gateway:
    """A TWS: what it holds, which failures it has left to give, and what it was asked."""

    clock: ReplayClock
    first: datetime = datetime(2019, 9, 3, tzinfo=UTC)
    # No bar begins from the first of these on, up to the second.
    halted: tuple[datetime, datetime] = (datetime.max.replace(tzinfo=UTC),) * 2
    zone: str = "US/Eastern"
    # Errors for the next requests of history, instead of their bars; None answers nothing.
    faults: list[tuple[int, str] | None] = field(default_factory=list)
    refuse_client: bool = False
    logins: list[int] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    live: dict[int, str] = field(default_factory=dict)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            greeting = await reader.readexactly(4)
            versions = await self.frame(reader)
            if greeting != b"API\0" or not versions[0].startswith("v"):
                return
            writer.write(framed(176, "20200911 10:00:00 EST"))
            while True:
                self.answer(await self.frame(reader), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def frame(self, reader: asyncio.StreamReader) -> list[str]:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        return (await reader.readexactly(length)).decode().split("\0")

    def answer(self, fields: list[str], writer: asyncio.StreamWriter) -> None:
        kind = int(fields[0])
        if kind == 71:
            self.logins.append(int(fields[2]))
            if self.refuse_client:
                text = "Unable to connect as the client id is already in use"
                writer.write(framed(4, 2, -1, 326, text, ""))
                return
            writer.write(framed(15, 1, "DU1234567") + framed(9, 1, 1))
            writer.write(framed(4, 2, -1, 2104, "Market data farm connection is OK:usfarm", ""))
        elif kind == 61:
            writer.write(framed(62, 1))
        elif kind == 9:
            self.details(fields[2], fields[4], writer)
        elif kind == 20:
            self.history(fields, writer)
        elif kind == 25:
            self.live.pop(int(fields[2]), None)

    def details(self, request: str, symbol: str, writer: asyncio.StreamWriter) -> None:
        if symbol not in ("AAPL", "MSFT"):
            text = "No security definition has been found for the request"
            writer.write(framed(4, 2, request, 200, text, ""))
            return
        contract = (symbol, "STK", "", 0, "", "SMART", "USD", symbol, "NMS", "NMS", 265598, 0.01)
        text = ("", "LMT", "SMART,NASDAQ", 1, 0, f"{symbol} INC", "NASDAQ", "", "Technology", "Computers", "")
        hours = (self.zone, "20200911:0400-20200911:2000", "20200911:0930-20200911:1600", "", 0, 0)
        rest = (1, "", "", "26", "", "COMMON", 1, 1, 100)
        writer.write(framed(10, request, *contract, *text, *hours, *rest) + framed(52, 1, request))

    def history(self, fields: list[str], writer: asyncio.StreamWriter) -> None:
        request, symbol = fields[1], fields[3]
        end, size, length, rth, what = fields[15:20]
        keep = fields[21] == "1"
        self.asked.append(
            {"symbol": symbol, "end": end, "size": size, "length": length, "what": what, "rth": rth}
        )
        if self.faults:
            fault = self.faults.pop(0)
            if fault is not None:
                writer.write(framed(4, 2, request, fault[0], fault[1], ""))
            return
        last = datetime.strptime(end, "%Y%m%d %H:%M:%S UTC").replace(tzinfo=UTC) if end else self.clock.now()
        rows = self.rows(size, last - timedelta(LENGTHS[length]), last)
        if not rows:
            text = "Historical Market Data Service error message:HMDS query returned no data"
            writer.write(framed(4, 2, request, 162, text, ""))
            return
        values = [value for row in rows for value in row]
        writer.write(framed(17, request, "from", "to", len(rows), *values))
        if keep:
            self.live[int(request)] = symbol

    def rows(self, size: str, first: datetime, last: datetime) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        if last < self.first:
            return rows
        closes = session_closes(max(first, self.first).date(), last.date())
        for close in closes.tolist():
            shut = datetime.fromtimestamp(close / 1e9, UTC)
            opened = shut - timedelta(hours=6, minutes=30)
            if self.halted[0] <= opened < self.halted[1]:
                continue
            if size == "1 day":
                if first <= shut - timedelta(hours=20) < last and opened < self.clock.now():
                    rows.append((f"{shut:%Y%m%d}", *_values(price(opened))))
                continue
            step = timedelta(minutes=SIZES[size])
            start = opened
            while start < shut:
                if first <= start < last and start < self.clock.now():
                    rows.append((int(start.timestamp()), *_values(price(start))))
                # Hours are cut by the clock: the first of a session is a half.
                start += MINUTE * 30 if step == timedelta(hours=1) and start.minute else step
        return rows

    def tell(self, minute: int, close: float | None = None) -> None:
        """An update of the minute that begins so long after ten, to every subscription."""
        start = OPEN + MINUTE * minute
        value = price(start) if close is None else close
        for request in self.live:
            fields = (7, int(start.timestamp()), value, value, value + 1, value - 1, value, 100)
            self.say(framed(90, request, *fields))

    def say(self, content: bytes) -> None:
        """Send this to whoever is connected."""
        for writer in self.writers:
            if not writer.is_closing():
                writer.write(content)

    def drop(self) -> None:
        """Break every connection."""
        self.live.clear()
        for writer in self.writers:
            writer.transport.abort()


def _values(value: float) -> tuple[float, ...]:
    return value, value + 1, value - 1, value, 100, value, 7
