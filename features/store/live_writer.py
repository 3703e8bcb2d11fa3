"""Live writer of features: stores each bar first, then publishes its features.

All state is therefore in the snapshots, from which a standby can continue (`features.store.standby`). The
online store itself is written by `features.store.streamer`.
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
from features.store.window_stream import FeatureSpec
from marketdata.storage.snapshots import SnapshotStore

log = logging.getLogger(__name__)

SpecsInUse = Callable[[], Sequence[FeatureSpec]]


@dataclass(slots=True)
class LiveFeatureWriter:
    """Stores each bar, then publishes its features; `close` hands over the lease.

    `snapshot` holds the bars up to the streamer's last one. `further` is called before each bar and returns
    the feature sets and universes that the model versions in use need, because rollouts start and end between
    bars.
    """

    streamer: Streamer
    snapshots: SnapshotStore
    snapshot: str
    further: SpecsInUse = tuple
    _last_warning: str = ""

    @property
    def last(self) -> datetime | None:
        """Timestamp of the last bar."""
        return self.streamer.last

    def on_bar(self, bars: Slice) -> Panel | None:
        """Store and publish one bar; return None, and change nothing, for one older than the last.

        Raises `LeaseLostError` after another writer took over, `DataError` for the last bar with other
        prices.
        """
        if self.last is not None and bars.timestamp < self.last:
            return None
        if bars.timestamp != self.last:
            self._follow()
            # The query above may have taken longer than the lease lasts.
            self.streamer.require_lease()
            self.snapshot = self.snapshots.append(self.snapshot, bars.to_table()).id
        return self.streamer.publish(bars, self.snapshot)

    def close(self) -> None:
        """Release the lease; may be repeated."""
        self.streamer.close()

    def __enter__(self) -> LiveFeatureWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        """Update the further windows to those now needed; keep the former ones if that is unknown."""
        warning = ""
        try:
            self.streamer.set_further(self.further(), self._history)
        except LeaseLostError:
            raise
        except (AlphaloopError, OSError) as error:
            warning = str(error)
        if warning and warning != self._last_warning:
            log.warning("the features of further sets stay as they were at the bar before: %s", warning)
        self._last_warning = warning

    def _history(self) -> BarPanel:
        return BarPanel.from_table(self.snapshots.load(self.snapshot))
