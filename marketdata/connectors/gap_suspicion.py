"""Since when a stream may have lost a bar."""

from __future__ import annotations

from datetime import datetime

from alphaloop.clock import Clock


class Doubt:
    """A venue tells of no bar where nothing traded, so not every hole is a loss.

    After a new connection or a message that could not be read, the first hole of each symbol is one
    that history must be asked about; later ones are quiet minutes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: datetime | None = None

    def begin(self) -> None:
        """Something may have been lost now."""
        self._since = self._clock.now()

    def covers(self, start: datetime, end: datetime) -> bool:
        """Whether bars that closed in `(start, end]` may have been lost; the `expects` of `ClosedBars`."""
        return self._since is not None and start <= self._since
