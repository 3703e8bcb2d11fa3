"""The circuit breaker: what keeps failing is left alone for a while."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import StrEnum
from threading import Lock

from alphaloop.clock import monotonic
from alphaloop.errors import InputError


class BreakerState(StrEnum):
    """Closed lets calls pass, open lets none, half-open one on trial."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Opens after `failures` within `window` seconds; after `cooldown` seconds one call is let through.

    If that succeeds the breaker closes, if it fails it is open for another `cooldown`. A trial of which
    nothing is heard for a `cooldown` is given up, so a call that was abandoned blocks nobody. `elapsed`
    tells the seconds from any origin. Safe to share between threads. M. Nygard, "Release It!", 2007.
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
        """How it stands now."""
        with self._lock:
            return self._state(self._elapsed())

    def allows(self) -> bool:
        """Whether a call may be made now; in the half-open state the answer True takes up the one trial."""
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
        """A call went well: closed, with nothing held against it."""
        with self._lock:
            self._failed.clear()
            self._opened = self._tried = None

    def failed(self) -> None:
        """A call failed. What was begun before the breaker opened, and fails now, does not prolong it."""
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
        """Open at once, whatever was counted; one that is open already is not prolonged."""
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
