"""The head of an HTTP request is waited for as long as a client needs, and may be as large; no more."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from alphaloop.clock import monotonic
from alphaloop.runtime.processes import free_port
from serving.server.http import http_header_limits, http_server
from serving.server.http.http_header_limits import MAX_HEADER_BYTES
from serving.server.http.http_server import HttpServer

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
MOST = 0.3

Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter
Talk = Callable[[Reader, Writer], Awaitable[Any]]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the number of bytes of the body; `/slow` takes twice as long as a head may."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message["body"]), message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * MOST)
    body = str(size).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Callable[[Talk], Any]:
    """Runs a client's side of one connection to a server; gives what it returns."""
    monkeypatch.setattr(http_header_limits, "MAX_HEADER_SECONDS", MOST)

    def run(client: Talk) -> Any:
        async def both() -> Any:
            port = free_port()
            server = HttpServer(echo, "127.0.0.1", port, "serving.http_port")
            await server.start()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    async with asyncio.timeout(20):
                        return await client(reader, writer)
                finally:
                    writer.close()
            finally:
                await server.stop()

        return asyncio.run(both())

    return run


async def answer(reader: Reader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def end(reader: Reader) -> bytes:
    """What comes until the connection is closed, or broken off."""
    with suppress(ConnectionError):
        return await reader.read()
    return b""


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n\r\n"])
def test_a_head_that_never_ends_is_refused_in_time(talk: Any, sent: bytes) -> None:
    """With 408, and the connection is closed; so it is after blank lines, which begin no request."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(sent)
        return await reader.read()

    assert talk(client).startswith(b"HTTP/1.1 408")


def test_time_is_not_won_by_sending_slowly(talk: Any) -> None:
    """It runs from the first byte, whatever follows."""

    async def client(reader: Reader, writer: Writer) -> float:
        began, ended = monotonic(), asyncio.create_task(end(reader))
        writer.write(b"GET / HTTP/1.1\r\n")
        while not ended.done():
            writer.write(b"a")
            await asyncio.sleep(MOST / 10)
        return monotonic() - began

    assert MOST * 0.9 <= talk(client) < 10 * MOST


@pytest.mark.parametrize("line", [b"a", b"a: b\r\n"])
def test_a_head_has_a_largest_size(talk: Any, line: bytes) -> None:
    """One line that never ends, or ever more of them: 431, as soon as the bound is passed."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write((b"GET / HTTP/1.1\r\n" + line * MAX_HEADER_BYTES)[:MAX_HEADER_BYTES])
        await writer.drain()
        await asyncio.sleep(MOST / 4)
        writer.write(line)
        return await reader.read()

    assert talk(client).startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("around", [b"a: b\r\n", b"a"])
def test_lines_after_a_body_are_bounded_too(talk: Any, around: bytes) -> None:
    """What comes with a body and is none does not fill the memory: the connection is closed."""

    async def client(reader: Reader, writer: Writer) -> bytes:
        writer.write(POST + b"1\r\na\r\n0\r\n")
        writer.write(around * (MAX_HEADER_BYTES + 1_000))
        return await end(reader)

    assert talk(client) == b""


def test_a_body_of_small_chunks_is_none_of_this(talk: Any) -> None:
    """A body that comes byte by byte, more slowly than a head may, is answered."""

    async def client(reader: Reader, writer: Writer) -> tuple[int, bytes]:
        writer.write(POST)
        for _ in range(4):
            writer.write(b"1\r\na\r\n" * 10_000)
            await asyncio.sleep(MOST / 2)
        writer.write(b"0\r\n\r\n")
        return await answer(reader)

    assert talk(client) == (200, b"40000")


def test_a_connection_serves_many_requests_with_pauses(talk: Any) -> None:
    """Between two requests it may wait for longer than a head may take."""

    async def client(reader: Reader, writer: Writer) -> list[tuple[int, bytes]]:
        answers = []
        for _ in range(3):
            writer.write(HEAD)
            answers.append(await answer(reader))
            await asyncio.sleep(MOST * 1.5)
        return answers

    assert talk(client) == [(200, b"0")] * 3


def test_an_answer_is_given_before_a_bad_head_is_refused(talk: Any) -> None:
    """Who sends half a second request behind a slow first one gets the first one's answer, then 408."""

    async def client(reader: Reader, writer: Writer) -> tuple[Any, bytes]:
        writer.write(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        return await answer(reader), await reader.read()

    first, second = talk(client)
    assert first == (200, b"0")
    assert second.startswith(b"HTTP/1.1 408")


def test_who_asks_nothing_is_let_go(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a byte is closed as an idle one is."""
    monkeypatch.setattr(http_server, "KEEP_ALIVE_SECONDS", 0.1)

    async def client(reader: Reader, writer: Writer) -> bytes:
        return await reader.read()

    assert talk(client) == b""


def test_a_client_that_is_gone_leaves_nothing_behind(talk: Any) -> None:
    """Its timer ends with its connection."""

    async def client(reader: Reader, writer: Writer) -> list[Any]:
        with socket.create_connection(writer.get_extra_info("peername")) as other:
            other.sendall(b"GET / HT")
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        loop: Any = asyncio.get_running_loop()
        return [
            one for one in loop._scheduled
            if not one.cancelled() and one._callback.__name__ == "_end" and one._args != ("",)
        ]  # fmt: skip

    assert talk(client) == []
