"""Heads of HTTP requests: for how long one is waited for, and how long it may be.

uvicorn has a bound for neither. What is here of a head holds a connection and memory, and no place of
`serving.server.admission`, so that nothing else would ever end it. `serving.server.http.http_body` does the
same for bodies.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# From its first byte on; who has not sent a head within that is no client of ours.
MOST_SECONDS = 10.0
# As others do: nginx takes 32 KiB, Node.js 16 KiB.
MOST_BYTES = 2**16
# Chunks of a single byte come with five bytes around each.
MOST_AROUND = 16

_TIMEOUT, _TOO_LARGE = "408 Request Timeout", "431 Request Header Fields Too Large"


class BoundedHeads(HttpToolsProtocol):
    """One connection; whoever keeps it waiting for the end of a head is told so, and it is closed."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """It waits for its first request."""
        super().connection_made(transport)
        self._in_head, self._begun = True, False
        # Of the present request: what is of its body, and what is not.
        self._body = self._around = 0
        # As long as uvicorn waits for the second.
        self._waits = self.loop.call_later(self.timeout_keep_alive, self._end, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._waits.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Time runs from the first byte of a head, and all bytes count that are of no body."""
        if self._in_head:
            self._begin()
        self._around += len(data)
        super().data_received(data)
        if self._around > MOST_BYTES + MOST_AROUND * self._body:
            if self._in_head:
                self._end(_TOO_LARGE)
            else:
                # Of the lines around chunks, or after them.
                self.transport.close()

    def on_message_begin(self) -> None:
        """A head begins, maybe in the bytes that end the request before."""
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = self._begun = False
        self._waits.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._around -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The next head may come; until its first byte it is uvicorn that waits."""
        self._in_head, self._body, self._around = True, 0, 0
        super().on_message_complete()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._wait()

    def _wait(self) -> None:
        self._waits.cancel()
        self._waits = self.loop.call_later(MOST_SECONDS, self._end, _TIMEOUT)

    def _end(self, status: str) -> None:
        """Close the connection, with a `status` that says why; after the answer that is being given."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        if cycle is not None and not cycle.response_complete:
            self.flow.pause_reading()
            self._wait()
            return
        if status:
            lines = (f"HTTP/1.1 {status}", "content-length: 0", "connection: close", "", "")
            self.transport.write("\r\n".join(lines).encode("ascii"))
        self.transport.close()
