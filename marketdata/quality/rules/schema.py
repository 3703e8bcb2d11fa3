"""Rule `schema`: required and optional columns of a table of bars."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, DISPUTED_COLUMN, PROVIDER_COLUMN
from marketdata.quality.finding import Finding

OPTIONAL_COLUMNS = {PROVIDER_COLUMN: pa.string(), DISPUTED_COLUMN: pa.bool_()}


def check_schema(table: pa.Table) -> Iterator[Finding]:
    """Find missing, duplicate or wrongly typed columns, nulls in the key, and empty tables."""
    names = table.schema.names
    for field in BARS_SCHEMA:
        if field.name not in names:
            yield _finding(f"column '{field.name}' is missing; it has: {names}")
        elif names.count(field.name) > 1:
            yield _finding(f"column '{field.name}' is there {names.count(field.name)} times")
        elif table.schema.field(field.name).type != field.type:
            actual = table.schema.field(field.name).type
            yield _finding(f"column '{field.name}' is {actual}; it must be {field.type}")
        elif field.name in ("symbol", "timestamp") and table[field.name].null_count:
            yield _finding(f"column '{field.name}' has {table[field.name].null_count} nulls")
    for field in table.schema:
        if field.name in BARS_SCHEMA.names:
            continue
        expected = OPTIONAL_COLUMNS.get(field.name, pa.float64())
        if field.type != expected:
            yield _finding(f"further column '{field.name}' is {field.type}; it must be {expected}")
    if table.num_rows == 0:
        yield _finding("there are no rows")


def _finding(value: str) -> Finding:
    return Finding("schema", "", "", value, bars=0)
