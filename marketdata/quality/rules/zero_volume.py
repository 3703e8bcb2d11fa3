"""Rule `volume`: bars without trading."""

from __future__ import annotations

from collections.abc import Iterator

from marketdata.quality.bar_rows import BarRows, true_runs
from marketdata.quality.finding import Finding


def check_zero_volume(rows: BarRows) -> Iterator[Finding]:
    """Find runs of bars with a volume of zero; a missing volume is not zero."""
    volume, _ = rows.column("volume")
    if not (volume == 0).any():
        return
    for _, places in rows.groups:
        for first, count in true_runs(volume[places] == 0):
            value = f"volume is 0 for {count} bars in a row"
            yield rows.finding("volume", int(places[first]), value, "warning", bars=count)
