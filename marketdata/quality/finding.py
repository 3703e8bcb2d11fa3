"""A finding: one problem in a table of bars."""

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
FINDINGS_SCHEMA = pa.schema(
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
    """One problem in a table of bars.

    Attributes
    ----------
    rule
        One of `RULES`.
    symbol, timestamp
        Location of the problem; both empty if it concerns the whole table.
    value
        Description of the problem.
    severity
        `error` or `warning`.
    bars
        Number of the symbol's bars concerned, from `timestamp` on; 0 where bars are absent or the problem
        concerns the whole table.

    Examples
    --------
    >>> from marketdata.quality.finding import Finding
    >>> print(Finding("price", "AAPL", "2020-01-02T21:00:00+00:00", "close is 0; it must be positive"))
    [price] AAPL at 2020-01-02T21:00:00+00:00: close is 0; it must be positive
    """

    rule: str
    symbol: str
    timestamp: str
    value: str
    severity: Severity = "error"
    bars: int = 1

    def __str__(self) -> str:
        location = " at ".join(part for part in (self.symbol, self.timestamp) if part)
        return f"[{self.rule}] {location + ': ' if location else ''}{self.value}"


def findings_table(findings: Sequence[Finding]) -> pa.Table:
    """Return findings as rows of `FINDINGS_SCHEMA`."""
    return pa.Table.from_pylist([asdict(finding) for finding in findings], schema=FINDINGS_SCHEMA)
