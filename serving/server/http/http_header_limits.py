"""Limits on HTTP request headers: the time until they are complete, and their size.

uvicorn limits neither. An incomplete header holds a connection and memory but does not count in
`serving.server.admission`, so nothing else would ever end it. `serving.server.http.http_body` does the same
for bodies. uvicorn's protocol of h11 would bound the size, but not the time, and parses in Python; where a
header ends is known to the parser alone, which is why this derives from its protocol. A test sends late and
large headers to a real server, so that a new uvicorn cannot undo the limits unseen.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Seconds allowed for a complete request header, from its first byte.
MAX_HEADER_SECONDS = 10.0
# Size limit of a header; for comparison: nginx takes 32 KiB, Node.js 16 KiB.
MAX_HEADER_BYTES = 2**16
# Bytes of framing allowed per byte of body: chunks of a single byte have five bytes around each.
MAX_FRAMING_RATIO = 16

_TIMEOUT, _TOO_LARGE = "408 Request Timeout", "431 Request Header Fields Too Large"


class BoundedHeaderProtocol(HttpToolsProtocol):
    """uvicorn protocol that closes a connection with late or large headers."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the wait for the first request."""
        super().connection_made(transport)
        self._in_head, self._begun = True, False
        # Bytes of the present request: in its body, and outside of it.
        self._body = self._around = 0
        # As long as uvicorn waits for the second request.
        self._waits = self.loop.call_later(self.timeout_keep_alive, self._end, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the wait."""
        self._waits.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the clock at a header's first byte, and count bytes.

        All bytes outside of bodies count.
        """
        if self._in_head:
            self._begin()
        self._around += len(data)
        super().data_received(data)
        if self._around > MAX_HEADER_BYTES + MAX_FRAMING_RATIO * self._body:
            if self._in_head:
                self._end(_TOO_LARGE)
            else:
                # Too many bytes in the lines around chunks, or after them.
                self.transport.close()

    def on_message_begin(self) -> None:
        """Note that a header begins, possibly in the bytes that end the request before."""
        self._begin()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the header is complete."""
        self._in_head = self._begun = False
        self._waits.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count a part of the body."""
        self._around -= len(body)
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next header; until its first byte uvicorn's own timeout applies."""
        self._in_head, self._body, self._around = True, 0, 0
        super().on_message_complete()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._wait()

    def _wait(self) -> None:
        self._waits.cancel()
        self._waits = self.loop.call_later(MAX_HEADER_SECONDS, self._end, _TIMEOUT)

    def _end(self, status: str) -> None:
        """Close the connection, with a `status` that says why, after the answer in progress."""
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
