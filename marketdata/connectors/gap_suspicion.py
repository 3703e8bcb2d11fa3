"""Suspicion that a stream lost a bar."""

from __future__ import annotations

from datetime import datetime

from alphaloop.clock import Clock


class GapSuspicion:
    """Tracks whether a gap may be lost data or only a period without trades.

    Some venues send no bar for a period without trades. After a new connection or an unreadable message, the
    first gap of each symbol must be checked against history; later ones are quiet minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: datetime | None = None

    def begin(self) -> None:
        """Note that data may have been lost now."""
        self._since = self._clock.now()

    def covers(self, start: datetime, end: datetime) -> bool:
        """Return True if bars that closed in `(start, end]` may be lost; the `expects` of `ClosedBars`."""
        return self._since is not None and start <= self._since
