"""Rows of a bar, awaited until each judged version has answered or its time has passed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alphaloop.clock import monotonic, sleep
from serving.log.prediction_log import PredictionLogReader, PredictionRow

POLL_SECONDS = 0.005


class AwaitedRows:
    """Rows of the prediction log bar by bar, in order.

    Only rows of bars that were not handed out yet are held in memory; rows of earlier bars come too late
    and are counted.

    Parameters
    ----------
    log : PredictionLogReader
        Reader of the model's log.
    wait : float
        Seconds to wait for the rows of one bar (`rollout.evidence_wait`).

    Attributes
    ----------
    late : int
        Rows that came after their bar was handed out.
    """

    def __init__(self, log: PredictionLogReader, wait: float) -> None:
        self._log, self._wait = log, wait
        self._rows: dict[datetime, list[PredictionRow]] = {}
        self._last: datetime | None = None
        self.late = 0

    def take(self, as_of: datetime, versions: Sequence[str]) -> list[PredictionRow]:
        """Return the rows of the bar at `as_of`, once each of `versions` has one or the wait is over.

        Rows of bars between the last one taken and this one are passed over. A bar that was taken before
        has no rows any more.
        """
        self._passed(as_of)
        deadline = monotonic() + self._wait
        self._read(as_of)
        while self._lacks(as_of, versions) and monotonic() < deadline:
            sleep(POLL_SECONDS)
            self._read(as_of)
        if self._last is None or as_of > self._last:
            self._last = as_of
        return self._rows.pop(as_of, [])

    def _passed(self, as_of: datetime) -> None:
        for earlier in [moment for moment in self._rows if moment < as_of]:
            self.late += len(self._rows.pop(earlier))

    def _read(self, as_of: datetime) -> None:
        for row in self._log.new():
            if row.as_of is None:
                continue
            if row.as_of < as_of or (self._last is not None and row.as_of <= self._last):
                self.late += 1
            else:
                self._rows.setdefault(row.as_of, []).append(row)

    def _lacks(self, as_of: datetime, versions: Sequence[str]) -> bool:
        there = {row.version for row in self._rows.get(as_of, ()) if row.symbols}
        return not there.issuperset(versions)
