"""The streamer: the only part with a source and a clock.

Each bar is stored as a delta of the snapshot, then its features are written to the online store, and only
then do readers learn of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from alphaloop.bars import Slice
from alphaloop.clock import Clock, ReplayClock
from features.store.live_writer import LiveFeatureWriter


@dataclass(slots=True)
class BarStreamer:
    """Streamer of one source: stores each bar and publishes its features.

    Parameters
    ----------
    clock : Clock
        Clock of the bars; a replay's clock is set to the close of each bar.
    duty : LiveFeatureWriter
        Writer that stores each bar and publishes its features.
    """

    clock: Clock
    duty: LiveFeatureWriter

    @property
    def snapshot(self) -> str:
        """Id of the snapshot that ends with the last bar."""
        return self.duty.snapshot

    def on_bar(self, bars: Slice) -> None:
        """Store and publish one bar; the last one again changes nothing.

        Parameters
        ----------
        bars : Slice
            Bars that have just closed.

        Raises
        ------
        LeaseLostError
            Where another writer took the online store over.
        DataError
            For the last bar with other prices.
        """
        if isinstance(self.clock, ReplayClock):
            self.clock.advance(bars.timestamp)
        self.duty.on_bar(bars)
