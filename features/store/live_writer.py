"""A writer on duty: each bar is stored first, then its features are published.

So what a writer knew is in the snapshots, and another can go on from there (`features.store.standby`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from alphaloop.bars import BarPanel, Slice
from alphaloop.errors import AlphaloopError, LeaseLostError
from features.compute.batch import Panel
from features.store.streamer import Streamer
from features.store.window_stream import Further
from marketdata.storage.snapshots import SnapshotStore

log = logging.getLogger(__name__)

InUse = Callable[[], Sequence[Further]]


@dataclass(slots=True)
class Duty:
    """Stores each bar, then publishes its features. Close it to hand over.

    `snapshot` holds the bars that the streamer stands after. `further` is asked before each bar what the
    versions in use need: rollouts start and end while bars come.
    """

    streamer: Streamer
    snapshots: SnapshotStore
    snapshot: str
    further: InUse = tuple
    _told: str = ""

    @property
    def last(self) -> datetime | None:
        """The bar it stands after."""
        return self.streamer.last

    def on_bar(self, bars: Slice) -> Panel | None:
        """Store and publish one bar; None for one that is older than the last, which changes nothing.

        Raises `LeaseLostError` once another writer took over, `DataError` for the last bar with other
        prices.
        """
        if self.last is not None and bars.timestamp < self.last:
            return None
        if bars.timestamp != self.last:
            self._follow()
            # What was asked may have taken a while.
            self.streamer.require_lease()
            self.snapshot = self.snapshots.append(self.snapshot, bars.to_table()).id
        return self.streamer.publish(bars, self.snapshot)

    def close(self) -> None:
        """Give up the lease; a second time does nothing."""
        self.streamer.close()

    def __enter__(self) -> Duty:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        """Carry what the versions in use need by now; where that cannot be told, what they did need."""
        told = ""
        try:
            self.streamer.carry_besides(self.further(), self._history)
        except LeaseLostError:
            raise
        except (AlphaloopError, OSError) as error:
            told = str(error)
        if told and told != self._told:
            log.warning("the features of further sets stay as they were at the bar before: %s", told)
        self._told = told

    def _history(self) -> BarPanel:
        return BarPanel.from_table(self.snapshots.load(self.snapshot))
