"""A circuit breaker: calls that keep failing are suspended for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from threading import Lock

from alphaloop.clock import monotonic
from alphaloop.errors import InputError


class BreakerState(StrEnum):
    """State of a breaker: closed lets calls pass, open lets none, half-open one on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """A breaker that opens after repeated failures and closes after a successful trial call.

    It opens after `failures` within `window` seconds. After `cooldown` seconds one trial call is let through:
    if that succeeds the breaker closes, if it fails the breaker stays open for another `cooldown`. A trial
    without a result within `cooldown` seconds is given up, so that an abandoned call blocks nobody. `elapsed`
    returns seconds from any origin. Safe to share between threads. M. Nygard, "Release It!", 2007.
    """

    def __init__(
        self,
        failures: int = 3,
        window: float = 60.0,
        cooldown: float = 30.0,
        elapsed: Callable[[], float] = monotonic,
    ) -> None:
        if failures < 1 or not (window > 0 and cooldown > 0):
            raise InputError(
                f"a breaker needs failures >= 1 and positive seconds, not {failures}, {window}, {cooldown}"
            )
        self._limit, self._window, self._cooldown, self._elapsed = failures, window, cooldown, elapsed
        self._failed: deque[float] = deque()
        self._opened: float | None = None
        self._tried: float | None = None
        self._lock = Lock()

    @property
    def state(self) -> BreakerState:
        """The current state."""
        with self._lock:
            return self._state(self._elapsed())

    def allows(self) -> bool:
        """Test whether a call may be made now.

        In the half-open state the result True takes up the one trial call.
        """
        with self._lock:
            now = self._elapsed()
            state = self._state(now)
            if state is not BreakerState.HALF_OPEN:
                return state is BreakerState.CLOSED
            if self._tried is not None and now - self._tried < self._cooldown:
                return False
            self._tried = now
            return True

    def succeeded(self) -> None:
        """Record a success: the breaker closes and forgets all failures."""
        with self._lock:
            self._failed.clear()
            self._opened = self._tried = None

    def failed(self) -> None:
        """Record a failure.

        A failure of a call that began before the breaker opened does not prolong the open state.
        """
        with self._lock:
            now = self._elapsed()
            state = self._state(now)
            if state is BreakerState.OPEN:
                return
            self._failed.append(now)
            while now - self._failed[0] >= self._window:
                self._failed.popleft()
            if state is BreakerState.HALF_OPEN or len(self._failed) >= self._limit:
                self._open(now)

    def trip(self) -> None:
        """Open at once, whatever was counted; a breaker that is open already is not prolonged."""
        with self._lock:
            now = self._elapsed()
            if self._state(now) is not BreakerState.OPEN:
                self._open(now)

    def _open(self, now: float) -> None:
        self._opened, self._tried = now, None
        self._failed.clear()

    def _state(self, now: float) -> BreakerState:
        if self._opened is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now - self._opened < self._cooldown else BreakerState.HALF_OPEN
