"""Data quality checks: everything that must hold of bars before features are computed.

The rules live in `marketdata.quality.rules`; the policies applied to findings in
`marketdata.quality.cleaning`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa

from alphaloop.errors import DataError
from marketdata.calendars import require_calendar
from marketdata.quality.bar_rows import BarRows
from marketdata.quality.finding import RULES, Finding, Severity, findings_table
from marketdata.quality.rules.common_gaps import with_common_gaps
from marketdata.quality.rules.disputed import check_disputed
from marketdata.quality.rules.grid import check_frequency as frequencies
from marketdata.quality.rules.grid import check_grid
from marketdata.quality.rules.holidays import without_holidays
from marketdata.quality.rules.outlier import check_outliers
from marketdata.quality.rules.price import check_missing_values, check_ohlc, check_prices
from marketdata.quality.rules.row_order import check_duplicates, check_row_order
from marketdata.quality.rules.schema import check_schema
from marketdata.quality.rules.session import check_sessions
from marketdata.quality.rules.split import check_splits
from marketdata.quality.rules.staleness import check_future_bars, check_staleness, check_venue_clock
from marketdata.quality.rules.stuck_prices import check_stuck_prices
from marketdata.quality.rules.zero_volume import check_zero_volume
from marketdata.quality.thresholds import Thresholds

__all__ = [
    "RULES",
    "Finding",
    "Severity",
    "Thresholds",
    "check_bars",
    "findings_table",
    "require_clean",
    "require_no_errors",
]
DEFAULT_THRESHOLDS = Thresholds()


def check_bars(
    table: pa.Table,
    calendar: str,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    now: datetime | None = None,
    venue_now: datetime | None = None,
    frequency: str = "",
) -> list[Finding]:
    """Check a table of bars against every quality rule.

    A table without the right columns, or with no rows, is checked no further.

    Parameters
    ----------
    table
        Columns of `BARS_SCHEMA` and any further columns of bars.
    calendar
        Calendar of the bars.
    thresholds
        Limits of the rules.
    now
        Current time, aware; also checks for a stale feed and for bars in the future.
    venue_now
        Time of the venue's clock, aware; also checks that both clocks agree. Needs `now`.
    frequency
        Length of a bar as stated by the source (`1d`); empty if not stated.

    Returns
    -------
    list of Finding
        Findings rule by rule, in the order of `RULES`.

    Raises
    ------
    UnknownNameError
        For a calendar that does not exist.
    DataError
        For times that the calendar does not reach.
    """
    require_calendar(calendar)
    findings = list(check_schema(table))
    if findings:
        return findings
    rows = BarRows(table)
    findings = [
        *check_row_order(rows),
        *check_duplicates(rows),
        *frequencies(rows, frequency),
        *check_grid(rows, calendar),
        *check_prices(rows),
        *check_ohlc(rows),
        *check_missing_values(rows),
        *_sessions(rows, calendar, thresholds),
        *check_stuck_prices(rows, thresholds),
        *check_outliers(rows, thresholds),
        *check_splits(rows, thresholds),
        *check_zero_volume(rows),
        *check_disputed(rows),
    ]
    if now is not None:
        findings += [
            *check_staleness(rows, calendar, now, thresholds),
            *check_future_bars(rows, now, thresholds),
        ]
    if now is not None and venue_now is not None:
        findings += check_venue_clock(venue_now, now, thresholds)
    return findings


def _sessions(rows: BarRows, calendar: str, thresholds: Thresholds) -> Iterator[Finding]:
    findings = without_holidays(check_sessions(rows, calendar, thresholds), rows, calendar, thresholds)
    return with_common_gaps(findings, rows, calendar)


def require_clean(table: pa.Table, calendar: str, name: str) -> None:
    """Raise `DataError` with the first error of `table` and the number of errors.

    `name` is the origin of the table, for the message. Warnings are no errors.
    """
    require_no_errors(check_bars(table, calendar), name)


def require_no_errors(findings: list[Finding], name: str) -> None:
    """Raise `DataError` with the first error among `findings` and the number of errors."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more findings)" if len(errors) > 1 else ""
        raise DataError(
            f"{name}: {errors[0]}{more}; mend the data, or see all of it with: alphaloop data check --json"
        )
