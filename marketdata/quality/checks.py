"""Data quality: what must hold of bars before anything is computed from them.

The rules live in `marketdata.quality.rules`; what follows from a finding, in `marketdata.quality.cleaning`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa

from alphaloop.errors import DataError
from marketdata.calendars import require_calendar
from marketdata.quality.bar_rows import Rows
from marketdata.quality.finding import RULES, Finding, Severity, findings_table
from marketdata.quality.rules.common_gaps import with_common_gaps
from marketdata.quality.rules.disputed import disputed
from marketdata.quality.rules.grid import frequency as frequencies
from marketdata.quality.rules.grid import grid
from marketdata.quality.rules.holidays import without_holidays
from marketdata.quality.rules.outlier import outliers
from marketdata.quality.rules.price import missing, ohlc, prices
from marketdata.quality.rules.row_order import ordered, unique
from marketdata.quality.rules.schema import schema
from marketdata.quality.rules.session import sessions
from marketdata.quality.rules.split import jumps
from marketdata.quality.rules.staleness import skew, stale, venue_clock
from marketdata.quality.rules.stuck_prices import stuck
from marketdata.quality.rules.zero_volume import zero_volume
from marketdata.quality.thresholds import Thresholds

__all__ = [
    "RULES",
    "Finding",
    "Severity",
    "Thresholds",
    "check",
    "findings_table",
    "require_clean",
    "require_no_errors",
]
DEFAULTS = Thresholds()


def check(
    table: pa.Table,
    calendar: str,
    thresholds: Thresholds = DEFAULTS,
    *,
    now: datetime | None = None,
    venue_now: datetime | None = None,
    frequency: str = "",
) -> list[Finding]:
    """Everything wrong with `table` (columns of `BARS_SCHEMA` and what else bars may have).

    Findings come rule by rule, in the order of `RULES`. A table without the right columns, or with no
    rows, is checked no further. `now` also asks whether the feed is stale and whether bars lie in the
    future, `venue_now` (what the venue's clock says) whether the two clocks agree. `frequency` (as 1d) is
    what the source states of its bars; empty if it states none. Raises
    `UnknownNameError` for a calendar that does not exist, and `DataError` for times outside of it.
    """
    require_calendar(calendar)
    findings = list(schema(table))
    if findings:
        return findings
    rows = Rows(table)
    findings = [
        *ordered(rows),
        *unique(rows),
        *frequencies(rows, frequency),
        *grid(rows, calendar),
        *prices(rows),
        *ohlc(rows),
        *missing(rows),
        *_sessions(rows, calendar, thresholds),
        *stuck(rows, thresholds),
        *outliers(rows, thresholds),
        *jumps(rows, thresholds),
        *zero_volume(rows),
        *disputed(rows),
    ]
    if now is not None:
        findings += [*stale(rows, calendar, now, thresholds), *skew(rows, now, thresholds)]
    if now is not None and venue_now is not None:
        findings += venue_clock(venue_now, now, thresholds)
    return findings


def _sessions(rows: Rows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    found = without_holidays(sessions(rows, calendar, thresholds), rows, calendar, thresholds)
    return with_common_gaps(found, rows, calendar)


def require_clean(table: pa.Table, calendar: str, name: str) -> None:
    """Raise `DataError` naming the first error of `table` and how many there are; `name` is its origin.

    Warnings are no errors.
    """
    require_no_errors(check(table, calendar), name)


def require_no_errors(findings: list[Finding], name: str) -> None:
    """Raise `DataError` naming the first error among `findings` and how many there are."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more findings)" if len(errors) > 1 else ""
        raise DataError(
            f"{name}: {errors[0]}{more}; mend the data, or see all of it with: alphaloop data check --json"
        )
