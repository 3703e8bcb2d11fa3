"""Policies for findings: bars are rejected, quarantined, or repaired on record.

A policy belongs to a rule of `marketdata.quality.checks`. Without one, errors reject and warnings are
reported. A repair removes or reorders bars; none makes up a price, so nothing can come from the future.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, get_args

import numpy as np
import pyarrow as pa

from alphaloop.bars import BARS_SCHEMA, to_datetime64, with_calendar
from alphaloop.errors import InputError, UnknownNameError
from marketdata.quality.bar_rows import BarRows, iso_moment
from marketdata.quality.checks import (
    DEFAULT_THRESHOLDS,
    RULES,
    Finding,
    Thresholds,
    check_bars,
    require_no_errors,
)
from marketdata.quality.incremental_check import check_new_bars

Policy = Literal["reject", "quarantine", "repair", "report"]
POLICIES: tuple[str, ...] = get_args(Policy)
# Description of the repair, by rule; the other rules cannot be repaired without making up values.
REPAIR_DESCRIPTIONS = {
    "sorted": "rows sorted by timestamp, then symbol",
    "unique": "exact copies of a row dropped",
    "grid": "bar dropped: it is not one of the periods that the others are of",
    "price": "bar dropped: a price no market can print",
    "ohlc": "bar dropped: high or low contradict the other prices",
    "nan": "bar dropped: a value is missing",
    "calendar": "bar dropped: the market was closed",
    "skew": "bar dropped: it closes in the future",
}
# Rules with a repair that removes no bar.
ROW_KEEPING_REPAIRS = ("sorted", "unique")
# Rules about existing bars, which can be quarantined.
QUARANTINABLE_RULES = (
    "unique",
    "grid",
    "price",
    "ohlc",
    "nan",
    "calendar",
    "stuck",
    "outlier",
    "split",
    "volume",
    "disputed",
    "skew",
)


@dataclass(frozen=True, slots=True)
class Policies:
    """A policy for each rule that differs from the default.

    Parameters
    ----------
    rules
        Policy by rule: `reject`, `quarantine`, `repair` or `report`.

    Raises
    ------
    UnknownNameError
        For a rule or policy that does not exist.
    InputError
        For a pair that makes no sense.

    Examples
    --------
    >>> from marketdata.quality.checks import Finding
    >>> from marketdata.quality.cleaning import Policies
    >>> policies = Policies({"outlier": "quarantine"})
    >>> policies.of(Finding("outlier", "XYZ", "2020-01-02T21:00:00+00:00", "close moved by +900%"))
    'quarantine'
    """

    rules: Mapping[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule, policy in self.rules.items():
            if rule not in RULES:
                raise UnknownNameError("quality rule", rule, RULES)
            if policy not in POLICIES:
                raise UnknownNameError("quality policy", policy, POLICIES, where=f"rule '{rule}'")
            possible = {"repair": REPAIR_DESCRIPTIONS, "quarantine": QUARANTINABLE_RULES}.get(policy, RULES)
            if rule not in possible:
                raise InputError(
                    f"rule '{rule}' cannot have the policy '{policy}'; it is for: {', '.join(possible)}"
                )

    def of(self, finding: Finding) -> Policy:
        """Return the policy for a finding."""
        default: Policy = "reject" if finding.severity == "error" else "report"
        return self.rules.get(finding.rule, default)


NO_POLICIES = Policies()


@dataclass(frozen=True, slots=True)
class Repair:
    """One row changed by a repair: the rule, the location, and the change."""

    rule: str
    symbol: str
    timestamp: str
    done: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Bars after policies: the `table` to use, `quarantined` rows, repairs and findings.

    `quarantined` has the columns of the table and `rule`, `value` and `severity` of the finding.
    """

    table: pa.Table
    quarantined: pa.Table
    repairs: tuple[Repair, ...]
    findings: tuple[Finding, ...]


def clean_bars(
    table: pa.Table,
    calendar: str,
    name: str,
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    *,
    now: datetime | None = None,
    before: pa.Table | None = None,
    frequency: str = "",
) -> Cleaned:
    """Check a table of bars, apply policies, and check the rest.

    Gaps where bars were removed are known and reject nothing.

    Parameters
    ----------
    table
        Columns of `BARS_SCHEMA` and any further columns of bars.
    calendar
        Calendar of the bars; the returned table names it.
    name
        Origin of the table, for messages.
    policies
        Consequences of findings, by rule.
    thresholds
        Limits of the quality rules.
    now
        Current time, aware; also checks for a stale feed and for bars in the future.
    before
        Earlier bars, with the same columns, that `table` follows: context for outliers, gaps and the like,
        not checked again.
    frequency
        Length of a bar as stated by the source (`1d`); empty if not stated.

    Returns
    -------
    Cleaned
        The bars to use, quarantined rows, repairs and findings.

    Raises
    ------
    DataError
        For bars that the policies reject.
    UnknownNameError
        For a calendar that does not exist.
    """

    def found(bars: pa.Table) -> list[Finding]:
        def judge(rows: pa.Table) -> list[Finding]:
            return check_bars(rows, calendar, thresholds, now=now, frequency=frequency)

        return judge(bars) if before is None or not before.num_rows else check_new_bars(before, bars, judge)

    table = with_calendar(table, calendar)
    cleaned = apply_policies(table, found(table), policies, name)
    require_clean_rest(cleaned, table, found, policies, name)
    return cleaned


def require_clean_rest(
    cleaned: Cleaned,
    table: pa.Table,
    check_again: Callable[[pa.Table], list[Finding]],
    policies: Policies,
    name: str,
) -> None:
    """Check the rest of `table` after policies; `DataError` where it must not be used.

    The bar after one that was quarantined for a warning was acceptable beside it: if the price level stays,
    the return from the bar before it is that same warning, and no error.
    """
    if cleaned.table is table or not cleaned.table.num_rows:
        return
    after = _after_warnings(cleaned)
    left = [
        finding
        for finding in check_again(cleaned.table)
        if policies.of(finding) != "report"
        and finding.rule != "gap"
        and not (finding.rule in ("outlier", "split") and (finding.symbol, finding.timestamp) in after)
    ]
    require_no_errors(left, f"{name}, after repairs")


def _after_warnings(cleaned: Cleaned) -> set[tuple[str, str]]:
    """Return symbol and time of the first bar after each bar quarantined for warnings alone."""
    rows = BarRows(cleaned.table)
    times = {symbol: rows.times[places] for symbol, places in rows.groups}
    keys = set()
    for row in cleaned.quarantined.select(["symbol", "timestamp", "severity"]).to_pylist():
        symbol_times = times.get(row["symbol"])
        if row["severity"] != "warning" or symbol_times is None:
            continue
        index = int(np.searchsorted(symbol_times, to_datetime64(row["timestamp"]), side="right"))
        if index < len(symbol_times):
            keys.add((row["symbol"], iso_moment(symbol_times[index])))
    return keys


def apply_policies(
    table: pa.Table, findings: Sequence[Finding], policies: Policies = NO_POLICIES, name: str = "these bars"
) -> Cleaned:
    """Apply `policies` to the `findings` of `table`, as `marketdata.quality.checks.check_bars` gives them.

    Raises `DataError` for a finding with the policy `reject`, errors first, and changes nothing then. A
    finding that rejects by default does not if another rule's policy removes its bars.
    """
    by_policy = {policy: [item for item in findings if policies.of(item) == policy] for policy in POLICIES}
    aside = _rows_of(table, by_policy["quarantine"])
    repairs = [_repair(finding) for finding in by_policy["repair"]]
    rules = {finding.rule for finding in by_policy["repair"]}
    dropped = _rows_of(table, [item for item in by_policy["repair"] if item.rule not in ("sorted", "unique")])
    _reject(_of_bars_that_stay(table, by_policy["reject"], policies, aside, dropped), name)
    keep = np.ones(table.num_rows, dtype=bool)
    keep[[*aside, *dropped]] = False
    quarantined = _quarantined(table, aside)
    kept = table if keep.all() else table.filter(pa.array(keep))
    if "unique" in rules:
        kept = _without_copies(kept)
    if "sorted" in rules:
        kept = kept.sort_by([("timestamp", "ascending"), ("symbol", "ascending")])
    return Cleaned(kept, quarantined, tuple(repairs), tuple(findings))


def _of_bars_that_stay(
    table: pa.Table,
    findings: list[Finding],
    policies: Policies,
    aside: dict[int, list[Finding]],
    dropped: Mapping[int, list[Finding]],
) -> list[Finding]:
    """Return the findings without those of removed bars, which are recorded as quarantined."""
    moot = [one for one in findings if one.rule in QUARANTINABLE_RULES and one.rule not in policies.rules]
    rows = _rows_of(table, moot if aside or dropped else [])
    stays = {id(one) for row, mine in rows.items() if row not in aside and row not in dropped for one in mine}
    for row, mine in rows.items():
        if row in aside:
            aside[row] += [one for one in mine if id(one) not in stays]
    gone = {id(one) for mine in rows.values() for one in mine} - stays
    return [one for one in findings if id(one) not in gone]


def _reject(findings: list[Finding], name: str) -> None:
    errors = [one for one in findings if one.severity == "error"]
    if errors:
        require_no_errors(errors, name)
    elif findings:
        # A warning that the policies do not accept.
        one = findings[0]
        require_no_errors([Finding(one.rule, one.symbol, one.timestamp, one.value, "error", one.bars)], name)


def _repair(finding: Finding) -> Repair:
    return Repair(finding.rule, finding.symbol, finding.timestamp, REPAIR_DESCRIPTIONS[finding.rule])


def _rows_of(table: pa.Table, findings: Iterable[Finding]) -> dict[int, list[Finding]]:
    """Return the rows that findings concern, with the findings."""
    by_row: dict[int, list[Finding]] = {}
    places: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    symbols = None
    for finding in findings:
        if finding.symbol not in places:
            symbols = table["symbol"].to_numpy(zero_copy_only=False) if symbols is None else symbols
            symbol_rows = np.flatnonzero(symbols == finding.symbol)
            times = table["timestamp"].to_numpy()[symbol_rows].astype("datetime64[ns]")
            order = np.argsort(times, kind="stable")
            places[finding.symbol] = (symbol_rows[order], times[order])
        symbol_rows, times = places[finding.symbol]
        # Timestamps as text have microseconds, stored ones may be finer.
        start = to_datetime64(datetime.fromisoformat(finding.timestamp))
        first = int(np.searchsorted(times.astype("datetime64[us]"), start.astype("datetime64[us]")))
        last = int(np.searchsorted(times, times[min(first + finding.bars, len(times)) - 1], "right"))
        for row in symbol_rows[first:last].tolist():
            by_row.setdefault(row, []).append(finding)
    return dict(sorted(by_row.items()))


def _quarantined(table: pa.Table, aside: Mapping[int, list[Finding]]) -> pa.Table:
    rows = table.take(pa.array(list(aside), pa.int64()))
    texts = {
        name: pa.array(
            [
                "; ".join(dict.fromkeys(getattr(finding, name) for finding in row_findings))
                for row_findings in aside.values()
            ],
            pa.string(),
        )
        for name in ("rule", "value", "severity")
    }
    for name, values in texts.items():
        rows = rows.append_column(name, values)
    return rows


def _without_copies(table: pa.Table) -> pa.Table:
    """Keep the first of rows that agree in every column; nulls agree with nulls."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    names = [*BARS_SCHEMA.names, *(name for name in table.schema.names if name not in BARS_SCHEMA.names)]
    return table.filter(pa.array(~frame.duplicated(subset=names).to_numpy()))
