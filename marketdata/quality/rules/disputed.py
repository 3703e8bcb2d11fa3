"""Rule `disputed`: bars about which the providers disagree."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alphaloop.bars import DISPUTED, PROVIDER
from marketdata.quality.bar_rows import Rows
from marketdata.quality.finding import Finding


def disputed(rows: Rows) -> Iterator[Finding]:
    """Find bars marked as disputed when they came in."""
    names = rows.table.schema.names
    if DISPUTED not in names:
        return
    marked = rows.table[DISPUTED].fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    for row in np.flatnonzero(marked).tolist():
        provider = rows.table[PROVIDER][row].as_py() if PROVIDER in names else None
        value = f"providers disagree about this bar{f', which is that of {provider}' if provider else ''}"
        yield rows.finding("disputed", row, value, "warning")
