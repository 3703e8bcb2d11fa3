"""HTTP bodies, read under limits of size, time and shared memory.

A request whose body has not arrived does not count in `serving.server.admission`, so there may be any number
of them. Each may keep in memory, uncounted, no more than the server's own buffer of its connection; beyond
that all unfinished bodies share one budget.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving.protocol.errors import DeadlineError, OverloadedError, RequestTooLargeError
from serving.protocol.messages import InvalidRequestError

if TYPE_CHECKING:
    from starlette.requests import Request

# Seconds for a body; a slow line sends the largest body within this time.
MAX_BODY_SECONDS = 10.0
# Bytes of an unfinished body that do not count: uvicorn buffers as many, read or not.
UNCOUNTED_BYTES = 2**16
# Shared budget of unfinished bodies, in bodies of the largest size.
MAX_UNFINISHED_BODIES = 8
RETRY_SECONDS = 1.0


class LateBodyError(DeadlineError):
    """Body that did not arrive in time; its connection cannot be used any more."""


class BodyReader:
    """Reader of bodies of at most `max_bytes`. Belongs to one event loop."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        # Bytes of all unfinished bodies, without the uncounted bytes of each.
        self.unfinished_bytes = 0

    async def read(self, request: Request, remaining: float | None = None) -> bytes:
        """Read the whole body as it was sent.

        Raises `LateBodyError` if it has not arrived within `remaining` seconds (at most `MAX_BODY_SECONDS`),
        `RequestTooLargeError` as soon as it is too long, `OverloadedError` if the budget of unfinished bodies
        is exhausted, and `InvalidRequestError` if the client breaks off.
        """
        seconds = MAX_BODY_SECONDS if remaining is None else min(remaining, MAX_BODY_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                return await self._whole(request)
        except TimeoutError:
            raise LateBodyError(f"the body was not here within {seconds:g} s; nothing was computed") from None

    async def _whole(self, request: Request) -> bytes:
        chunks: list[bytes] = []
        size = counted = 0
        try:
            while True:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise InvalidRequestError("the client went away before the body's end")
                chunk = message.get("body", b"")
                size += len(chunk)
                if size > self._max_bytes:
                    raise RequestTooLargeError(
                        f"the body has more than {self._max_bytes} bytes (serving.max_request_bytes)"
                    )
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
                beyond = max(0, size - UNCOUNTED_BYTES)
                self.unfinished_bytes += beyond - counted
                counted = beyond
                self._require_room(counted)
        finally:
            self.unfinished_bytes -= counted

    def _require_room(self, counted: int) -> None:
        most = MAX_UNFINISHED_BODIES * self._max_bytes
        if counted and self.unfinished_bytes > most:
            raise OverloadedError(
                f"unfinished requests have {self.unfinished_bytes} bytes, the most are {most} "
                f"({MAX_UNFINISHED_BODIES} times serving.max_request_bytes); "
                f"ask again in {RETRY_SECONDS:g} s",
                RETRY_SECONDS,
            )
