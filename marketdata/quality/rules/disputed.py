"""Rule `check_disputed`: bars about which the providers disagree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaloop.bars import DISPUTED_COLUMN, PROVIDER_COLUMN
from marketdata.quality.bar_rows import BarRows
from marketdata.quality.finding import Finding


def check_disputed(rows: BarRows) -> Iterator[Finding]:
    """Find bars marked as disputed when they came in."""
    names = rows.table.schema.names
    if DISPUTED_COLUMN not in names:
        return
    marked = rows.table[DISPUTED_COLUMN].fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    for row in np.flatnonzero(marked).tolist():
        provider = rows.table[PROVIDER_COLUMN][row].as_py() if PROVIDER_COLUMN in names else None
        value = f"providers disagree about this bar{f', which is that of {provider}' if provider else ''}"
        yield rows.finding("disputed", row, value, "warning")
