"""Admission: limits the number of requests in flight and orders their computation.

On one event loop the queue of a busy server is invisible: gRPC hands a request over only when the loop polls,
about once per answer, so the rest waits, uncounted, where nothing can refuse it. So a busy loop first takes
in all that has arrived (`wait_turn`), and refuses at once what exceeds the limit, in a fraction of the time
that an answer takes. An idle loop computes at once.

A request counts from when it has arrived whole until it is computed: neither a client that never finishes
sending nor a client that does not read its answer occupies the server.
"""

from __future__ import annotations

import asyncio

from alphaloop.clock import monotonic
from serving.inference.routed_request import RoutedRequest
from serving.protocol.errors import OverloadedError

# Shorter than a client needs to read an answer and send again: a request that comes sooner is from another
# client, so the server is busy.
QUIET_SECONDS = 1e-4
# A request that takes longer to arrive is not waited for: its client did not send it at once.
MAX_ARRIVAL_SECONDS = 0.1
# Rounds of the loop without an arrival that end the wait; each takes some 10 microseconds.
IDLE_ROUNDS = 6
# Limit of rounds, so that a flood of arrivals cannot keep the first in line waiting for ever.
MAX_ROUNDS = 256
SMOOTHING = 0.05
MIN_RETRY_SECONDS = 0.01


class Admission:
    """Counter of requests that lets one compute at a time; belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._arrivals, self._seen = 0, 0
        self._left_at, self._service = 0.0, 1e-3
        # In order of arrival.
        self.queue: dict[RoutedRequest, asyncio.Future[None]] = {}
        # Time of each call whose request is still arriving, in order.
        self._coming: dict[object, float] = {}
        self._pumping = False
        self._rounds = self._idle = 0

    @property
    def is_full(self) -> bool:
        """True if the limit is reached."""
        return self.in_flight >= self.limit

    def announce(self, call: object) -> None:
        """Note that a request is arriving by `call`.

        It does not count yet, but a busy loop waits for it.
        """
        self._coming[call] = monotonic()
        self._arrivals += 1

    def arrive(self, call: object) -> None:
        """Note that the request announced by `call` has arrived, or will not. Idempotent."""
        self._coming.pop(call, None)

    def enter(self) -> bool:
        """Count an arrived request; return False, without counting it, if it must be refused."""
        self._arrivals += 1
        if self.is_full:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Count out a request that was answered, or whose client has gone."""
        self.in_flight -= 1
        now = monotonic()
        if self.in_flight and self._left_at:
            self._service += SMOOTHING * (min(now - self._left_at, 1.0) - self._service)
        self._left_at = now

    def refusal(self) -> OverloadedError:
        """Build the error for a request that `enter` did not let in."""
        wait = max(MIN_RETRY_SECONDS, self.in_flight * self._service)
        return OverloadedError(
            f"{self.in_flight} requests are being answered, the most at a time (serving.max_in_flight); "
            f"ask again in {wait * 1e3:.0f} ms",
            wait,
        )

    def queued(self) -> list[RoutedRequest]:
        """Return the requests in the queue, the first in line first."""
        return [request for request, ticket in self.queue.items() if not ticket.done()]

    def admit_now(self, request: RoutedRequest) -> None:
        """Let a queued request compute now, without polling for arrivals.

        For a request that a batch has scored: most of its work is done.
        """
        ticket = self.queue.pop(request, None)
        if ticket is not None and not ticket.done():
            ticket.set_result(None)

    async def wait_turn(self, request: RoutedRequest) -> None:
        """Wait until it is this request's turn to compute.

        Returns at once on an idle loop.
        """
        if not self._pumping and self.in_flight <= 1 and not self._expects_more():
            return
        loop = asyncio.get_running_loop()
        ticket: asyncio.Future[None] = loop.create_future()
        self.queue[request] = ticket
        if not self._pumping:
            self._pumping = True
            self._rounds = self._idle = 0
            loop.call_soon(self._pump, loop)
        await ticket

    def _expects_more(self) -> bool:
        """Return whether another request is arriving, or one was answered a moment ago."""
        now = monotonic()
        while self._coming and now - next(iter(self._coming.values())) > MAX_ARRIVAL_SECONDS:
            del self._coming[next(iter(self._coming))]
        return bool(self._coming) or now - self._left_at <= QUIET_SECONDS

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let arrivals in until none comes, then let the first in line compute."""
        self._rounds += 1
        self._idle = self._idle + 1 if self._arrivals == self._seen else 0
        self._seen = self._arrivals
        if self._idle >= IDLE_ROUNDS or self._rounds >= MAX_ROUNDS:
            self._release()
            self._rounds = self._idle = 0
        if self.queue:
            # The released request runs first: its callback was scheduled before this one.
            loop.call_soon(self._pump, loop)
        else:
            self._pumping = False

    def _release(self) -> None:
        while self.queue:
            ticket = self.queue.pop(next(iter(self.queue)))
            if not ticket.done():
                ticket.set_result(None)
                return
