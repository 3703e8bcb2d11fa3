"""Rule `volume`: bars in which nothing was traded."""

from __future__ import annotations

from collections.abc import Iterator

from marketdata.quality.bar_rows import Rows, runs
from marketdata.quality.finding import Finding


def zero_volume(rows: Rows) -> Iterator[Finding]:
    """Runs of bars with a volume of zero; a volume that is not given is no zero."""
    volume, _ = rows.column("volume")
    if not (volume == 0).any():
        return
    for _, places in rows.groups:
        for first, count in runs(volume[places] == 0):
            value = f"volume is 0 for {count} bars in a row"
            yield rows.finding("volume", int(places[first]), value, "warning", bars=count)
