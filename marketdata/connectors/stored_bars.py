"""Stored bars: the rows of a table as `Bar`s, as a live source would have sent them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, DISPUTED_COLUMN, PROVIDER_COLUMN, Bar
from alphaloop.clock import as_utc
from alphaloop.errors import DataError


def stored_bars(table: pa.Table, provider: str) -> Iterator[Bar]:
    """Yield the rows of `table` as bars, in their order.

    `provider` fills in for rows without one. A column beyond those of bars, `provider` and `disputed` is left
    out: a live bar has none. `DataError` names a row with impossible values.
    """
    names = [
        *BARS_SCHEMA.names,
        *(name for name in (PROVIDER_COLUMN, DISPUTED_COLUMN) if name in table.schema.names),
    ]
    times = table["timestamp"].cast(pa.timestamp("us", tz="UTC"), safe=False)
    index = table.schema.get_field_index("timestamp")
    rows = table.set_column(index, "timestamp", times).select(names)
    for batch in rows.to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            yield _bar(row, provider)


def _bar(row: dict[str, Any], provider: str) -> Bar:
    values: dict[str, Any] = {name: None if _absent(value) else value for name, value in row.items()}
    values["timestamp"] = as_utc(row["timestamp"])
    values[PROVIDER_COLUMN] = values.get(PROVIDER_COLUMN) or provider
    values[DISPUTED_COLUMN] = bool(values.get(DISPUTED_COLUMN))
    try:
        return Bar(**values)
    except (TypeError, ValueError) as error:
        raise DataError(f"bars of '{provider}' hold one that no market prints: {error}") from error


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
