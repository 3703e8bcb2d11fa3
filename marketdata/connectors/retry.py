"""Retries: backoff with jitter, on named errors only, and never past a deadline.

Not by stamina: it reads the time itself, and a replay gives its own clock and its own sleep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

from alphaloop import clock
from alphaloop.errors import InputError, VendorError

Answer = TypeVar("Answer")


class GaveUpError(VendorError):
    """Every attempt failed, or the deadline passed. Later attempts may succeed."""


def no_requested_wait(error: BaseException) -> float | None:
    """Return None: the `retry_after` of a vendor that never requests a wait."""
    return None


@dataclass(frozen=True)
class RetryPolicy:
    """A retry policy for calls that fail with one of the errors in `on`.

    The wait before attempt n + 1 is uniform on [0, min(cap, base · 2ⁿ⁻¹)] seconds ("full jitter",
    M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). `retry_after` extracts from an
    error the seconds that the vendor requested (its Retry-After header), or None; the wait is then never
    shorter. `deadline` bounds all attempts and waits together, in seconds; a wait that would pass it is not
    begun. Give a seeded `random` to repeat the jitter; unseeded, no two processes retry in step. `InputError`
    for a number that makes no sense.
    """

    on: tuple[type[Exception], ...]
    attempts: int = 6
    base: float = 0.5
    cap: float = 30.0
    deadline: float = 120.0
    retry_after: Callable[[BaseException], float | None] = no_requested_wait
    random: Random = field(default_factory=Random)
    sleep: Callable[[float], None] = clock.sleep
    async_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Callable[[], float] = clock.monotonic

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}; it must be at least 1")
        for name in ("base", "cap", "deadline"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)} seconds; it must be positive")

    def delay(self, failures: int, error: BaseException | None = None) -> float:
        """Return the seconds to wait after the n-th failure in a row, `error` being the last."""
        # 2³⁰ exceeds every cap; the bound keeps an endless run of failures from overflowing.
        backoff = self.random.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))
        advice = None if error is None else self.retry_after(error)
        return backoff if advice is None else max(backoff, advice)

    def call(self, function: Callable[[], Answer], what: str) -> Answer:
        """Return the result of `function`; raise `GaveUpError`, which names `what`, after the last attempt.

        Errors that are not in `on` pass through at once.
        """
        start = self.monotonic()
        failures = 0
        while True:
            try:
                return function()
            except self.on as error:
                failures += 1
                wait = self._wait(what, failures, start, error)
            self.sleep(wait)

    async def acall(self, function: Callable[[], Awaitable[Answer]], what: str) -> Answer:
        """Await `function` as `call` does; an attempt that hangs is cancelled at the deadline."""
        start = self.monotonic()
        failures = 0
        while True:
            remaining = self.deadline - (self.monotonic() - start)
            try:
                async with asyncio.timeout(remaining) as limit:
                    return await function()
            except self.on as error:
                failures += 1
                wait = self._wait(what, failures, start, error)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise GaveUpError(f"{what}: no answer within the deadline of {self.deadline:g} s") from error
            await self.async_sleep(wait)

    async def pause(self, failures: int, error: BaseException | None = None) -> None:
        """Wait before reconnecting; for streams, which retry for ever."""
        await self.async_sleep(self.delay(failures, error))

    def _wait(self, what: str, failures: int, start: float, error: Exception) -> float:
        elapsed = self.monotonic() - start
        wait = self.delay(failures, error)
        if failures >= self.attempts:
            reason = f"gave up after {failures} attempts in {elapsed:.1f} s"
        elif elapsed + wait > self.deadline:
            reason = (
                f"gave up after {failures} attempts: the next is due in {wait:.1f} s, "
                f"past the deadline of {self.deadline:g} s"
            )
        else:
            return wait
        raise GaveUpError(f"{what}: {reason}; last error: {type(error).__name__}: {error}") from error
