"""Bodies: what is waited for of an HTTP request before it is counted, for how long, and how many bytes.

A request whose body is not here yet holds no place of `serving.server.admission`, so there may be any number
of them. What each may keep in memory for nothing is no more than the server's own buffer of its connection;
beyond that all unfinished bodies share one bound.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serving.protocol.errors import DeadlineError, OverloadedError, RequestTooLargeError
from serving.protocol.messages import InvalidRequestError

if TYPE_CHECKING:
    from starlette.requests import Request

# A body that takes longer will not come; a slow line sends the largest within it.
MOST_SECONDS = 10.0
# Of an unfinished body these bytes are not counted: uvicorn buffers as many of it, read or not.
FREE_BYTES = 2**16
# So many bodies of the largest size may be unfinished at once, or more that are smaller.
MOST_UNFINISHED = 8
RETRY_SECONDS = 1.0


class LateBodyError(DeadlineError):
    """The body was not here in time; the connection is of no use any more."""


class Bodies:
    """Reads bodies of at most `most_bytes`. Belongs to one event loop."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        # Of all unfinished bodies, beyond what each has free.
        self.unfinished = 0

    async def read(self, request: Request, remaining: float | None = None) -> bytes:
        """The whole body, as it was sent.

        Raises `LateBodyError` where it is not here within `remaining` seconds (at most `MOST_SECONDS`),
        `RequestTooLargeError` as soon as it is too long, `OverloadedError` where too many others are
        unfinished, and `InvalidRequestError` for one that breaks off.
        """
        seconds = MOST_SECONDS if remaining is None else min(remaining, MOST_SECONDS)
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
                if size > self._most_bytes:
                    raise RequestTooLargeError(
                        f"the body has more than {self._most_bytes} bytes (serving.max_request_bytes)"
                    )
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return b"".join(chunks)
                beyond = max(0, size - FREE_BYTES)
                self.unfinished += beyond - counted
                counted = beyond
                self._require_room(counted)
        finally:
            self.unfinished -= counted

    def _require_room(self, counted: int) -> None:
        most = MOST_UNFINISHED * self._most_bytes
        if counted and self.unfinished > most:
            raise OverloadedError(
                f"unfinished requests have {self.unfinished} bytes, the most are {most} "
                f"({MOST_UNFINISHED} times serving.max_request_bytes); ask again in {RETRY_SECONDS:g} s",
                RETRY_SECONDS,
            )
