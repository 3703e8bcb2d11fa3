"""Admission: how many requests are held at once, and in which order they are computed.

On one event loop the queue of a busy server is invisible: gRPC hands a request over only when the loop
asks, which it does about once per answer, so that the rest waits, uncounted, where nothing can refuse
it. So a busy loop first takes in what has arrived (`turn`), and what exceeds the limit is refused at
once, in a fraction of the time that an answer takes. An idle loop computes at once.

A place is held from when a request is here as a whole until it is computed: neither who never finishes
sending nor who does not read the answer holds one.
"""

from __future__ import annotations

import asyncio

from alphaloop.clock import monotonic
from serving.protocol.errors import OverloadedError
from serving.server.queued_request import Waiting

# Less than a client needs to read an answer and ask again: so soon after one there are others.
QUIET_SECONDS = 1e-4
# What is on its way for longer is not waited for: whoever sends it has not sent it at once.
COMING_SECONDS = 0.1
# Rounds of the loop without an arrival after which there are no more; each takes some 10 microseconds.
PATIENCE = 6
# A flood of arrivals must not keep the first in line waiting for ever.
MOST_ROUNDS = 256
SMOOTHING = 0.05
SHORTEST_HINT = 0.01


class Admission:
    """Counts requests and lets one compute at a time; belongs to one event loop."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0
        self._arrivals, self._seen = 0, 0
        self._left_at, self._service = 0.0, 1e-3
        # By who waits, the first in line first.
        self.queue: dict[Waiting, asyncio.Future[None]] = {}
        # When each call came whose request is still on its way, the first first.
        self._coming: dict[object, float] = {}
        self._pumping = False
        self._rounds = self._idle = 0

    @property
    def full(self) -> bool:
        """Whether all places are taken."""
        return self.in_flight >= self.limit

    def announce(self, call: object) -> None:
        """A request is on its way, by `call`: it holds no place yet, but a busy loop waits for it."""
        self._coming[call] = monotonic()
        self._arrivals += 1

    def come(self, call: object) -> None:
        """What was announced by `call` is here, or will not come. Idempotent."""
        self._coming.pop(call, None)

    def enter(self) -> bool:
        """Count a request that has arrived; False, and not counted, if it must be refused."""
        self._arrivals += 1
        if self.full:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """A request that was let in has been answered, or its client has gone."""
        self.in_flight -= 1
        now = monotonic()
        if self.in_flight and self._left_at:
            self._service += SMOOTHING * (min(now - self._left_at, 1.0) - self._service)
        self._left_at = now

    def refusal(self) -> OverloadedError:
        """The error for a request that `enter` did not let in."""
        wait = max(SHORTEST_HINT, self.in_flight * self._service)
        return OverloadedError(
            f"{self.in_flight} requests are being answered, the most at a time (serving.max_in_flight); "
            f"ask again in {wait * 1e3:.0f} ms",
            wait,
        )

    def waiting(self) -> list[Waiting]:
        """Who waits for a turn, the first in line first."""
        return [who for who, ticket in self.queue.items() if not ticket.done()]

    def call(self, who: Waiting) -> None:
        """Let one that waits compute now, without a look for arrivals: most of its work is done."""
        ticket = self.queue.pop(who, None)
        if ticket is not None and not ticket.done():
            ticket.set_result(None)

    async def turn(self, who: Waiting) -> None:
        """Wait for this request's turn to compute; returns at once on an idle loop."""
        if not self._pumping and self.in_flight <= 1 and not self._awaited():
            return
        loop = asyncio.get_running_loop()
        ticket: asyncio.Future[None] = loop.create_future()
        self.queue[who] = ticket
        if not self._pumping:
            self._pumping = True
            self._rounds = self._idle = 0
            loop.call_soon(self._pump, loop)
        await ticket

    def _awaited(self) -> bool:
        """Whether a further request is on its way, or there was one just now."""
        now = monotonic()
        while self._coming and now - next(iter(self._coming.values())) > COMING_SECONDS:
            del self._coming[next(iter(self._coming))]
        return bool(self._coming) or now - self._left_at <= QUIET_SECONDS

    def _pump(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let arrivals in until none comes, then let the first in line compute."""
        self._rounds += 1
        self._idle = self._idle + 1 if self._arrivals == self._seen else 0
        self._seen = self._arrivals
        if self._idle >= PATIENCE or self._rounds >= MOST_ROUNDS:
            self._release()
            self._rounds = self._idle = 0
        if self.queue:
            # Runs after what was released just now: its callback was scheduled first.
            loop.call_soon(self._pump, loop)
        else:
            self._pumping = False

    def _release(self) -> None:
        while self.queue:
            ticket = self.queue.pop(next(iter(self.queue)))
            if not ticket.done():
                ticket.set_result(None)
                return
