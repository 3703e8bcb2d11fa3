"""A finding: one thing that is wrong with a table of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import pyarrow as pa

Severity = Literal["error", "warning"]

RULES = (
    "schema", "sorted", "unique", "frequency", "grid", "price", "ohlc", "nan", "calendar", "gap", "stuck",
    "outlier", "split", "volume", "disputed", "stale", "skew",
)  # fmt: skip
SCHEMA = pa.schema(
    [
        pa.field("rule", pa.string(), nullable=False),
        pa.field("symbol", pa.string(), nullable=False),
        pa.field("timestamp", pa.string(), nullable=False),
        pa.field("value", pa.string(), nullable=False),
        pa.field("severity", pa.string(), nullable=False),
        pa.field("bars", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with a table of bars.

    `rule` is one of `RULES`. `symbol` and `timestamp` say where (empty if it concerns the whole table),
    `value` what was found there. `bars` counts the bars of the symbol that it concerns, from
    `timestamp` on; 0 where it is the absence of bars, or the table, that is wrong.
    """

    rule: str
    symbol: str
    timestamp: str
    value: str
    severity: Severity = "error"
    bars: int = 1

    def __str__(self) -> str:
        place = " at ".join(part for part in (self.symbol, self.timestamp) if part)
        return f"[{self.rule}] {place + ': ' if place else ''}{self.value}"


def findings_table(findings: Sequence[Finding]) -> pa.Table:
    """Findings as rows of `SCHEMA`."""
    return pa.Table.from_pylist([asdict(finding) for finding in findings], schema=SCHEMA)
