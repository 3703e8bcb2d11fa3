"""Large requests, processed one after another in a thread.

The event loop answers the other requests meanwhile. Python lets the loop's thread continue within a fraction
of a millisecond, except during a single call of a C library; so such calls get pieces
(`serving.server.http.json_numbers`), or messages whose number of fields is bounded
(`serving.server.grpc.protobuf_fields`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from serving.protocol.errors import OverloadedError

log = logging.getLogger(__name__)

Result = TypeVar("Result")
# Maximum number of large bodies in memory; `serving.server.http.http_body` allows as many unfinished ones.
MAX_BODIES = 8
# Maximum number of calls other than inference: they read the registry in threads, which others wait for.
MAX_CALLS = 32
RETRY_SECONDS = 1.0
MAX_RESERVED_BYTES = 16 * 2**20


class ConcurrencyLimit:
    """Limit of `limit` concurrent requests of the kind `what`. Belongs to one event loop."""

    def __init__(self, limit: int, what: str) -> None:
        self.limit, self.held, self._what = limit, 0, what

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot for one request; raises `OverloadedError` if all are taken."""
        if self.held >= self.limit:
            raise OverloadedError(
                f"{self.held} {self._what} are being answered, the most at a time; "
                f"ask again in {RETRY_SECONDS:g} s",
                RETRY_SECONDS,
            )
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1


class LargeRequestThread(ConcurrencyLimit):
    """One thread for large requests, and a limit on their number."""

    def __init__(self, name: str, limit: int = MAX_BODIES) -> None:
        super().__init__(limit, "large requests")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], Result]) -> Result:
        """Run `work` in the thread, after earlier work.

        Returns its result or raises its error.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def defer(self, work: Callable[[], None]) -> None:
        """Run `work` in the thread, after earlier work, without a result.

        Nobody awaits it, so a failure is logged.
        """
        self._thread.submit(work).add_done_callback(_log_failure)


def reserve_memory(size: int) -> None:
    """Make the C library keep memory for large messages of the calling thread.

    `size` is that of a message in bytes; a copy of it is included. The library maps memory anew for a large
    block, until as much has been freed once. gRPC assembles a message on the event loop: with mapped memory
    the first of 15 MiB held up all others for 60 ms, with kept memory for 30.
    """
    size = min(size, MAX_RESERVED_BYTES)
    first = b"\1" * size
    del first
    message, copy = b"\1" * size, b"\1" * size
    del message, copy


def _log_failure(done: Future[None]) -> None:
    failure = None if done.cancelled() else done.exception()
    if failure is not None:
        log.error("what was left to do after an answer failed", exc_info=failure)
