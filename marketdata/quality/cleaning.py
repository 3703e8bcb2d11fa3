"""What follows from findings: bars are refused, set aside, or repaired by a rule that is on record.

A policy belongs to a rule of `marketdata.quality.checks`. Without one, errors reject and warnings are
reported. A repair takes bars away or puts them into order; none makes up a price, so nothing can come from
the future.
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
from marketdata.quality.bar_rows import Rows, moment
from marketdata.quality.checks import DEFAULTS, RULES, Finding, Thresholds, check, require_no_errors
from marketdata.quality.incremental_check import check_new

Policy = Literal["reject", "quarantine", "repair", "report"]
POLICIES: tuple[str, ...] = get_args(Policy)
# What a repair does, by rule; the rest cannot be repaired without making something up.
REPAIRS = {
    "sorted": "rows sorted by timestamp, then symbol",
    "unique": "exact copies of a row dropped",
    "grid": "bar dropped: it is not one of the periods that the others are of",
    "price": "bar dropped: a price no market can print",
    "ohlc": "bar dropped: high or low contradict the other prices",
    "nan": "bar dropped: a value is missing",
    "calendar": "bar dropped: the market was closed",
    "skew": "bar dropped: it closes in the future",
}
# Rules whose repair leaves every bar there is.
KEPT_BY_REPAIR = ("sorted", "unique")
# Rules that speak of bars which are there, and can be set aside.
OF_BARS = (
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
    """A policy for each rule that is to have another than the default.

    `UnknownNameError` for a rule or policy that does not exist, `InputError` for a pair that makes no
    sense.
    """

    rules: Mapping[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for rule, policy in self.rules.items():
            if rule not in RULES:
                raise UnknownNameError("quality rule", rule, RULES)
            if policy not in POLICIES:
                raise UnknownNameError("quality policy", policy, POLICIES, where=f"rule '{rule}'")
            possible = {"repair": REPAIRS, "quarantine": OF_BARS}.get(policy, RULES)
            if rule not in possible:
                raise InputError(
                    f"rule '{rule}' cannot have the policy '{policy}'; it is for: {', '.join(possible)}"
                )

    def of(self, finding: Finding) -> Policy:
        """What follows from a finding."""
        default: Policy = "reject" if finding.severity == "error" else "report"
        return self.rules.get(finding.rule, default)


NO_POLICIES = Policies()


@dataclass(frozen=True, slots=True)
class Repair:
    """One row that a repair touched: which rule, where, and what was done."""

    rule: str
    symbol: str
    timestamp: str
    done: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Bars after policies: `table` to be used, `quarantined` rows with their finding, repairs, findings.

    `quarantined` has the columns of the table and `rule`, `value` and `severity`.
    """

    table: pa.Table
    quarantined: pa.Table
    repairs: tuple[Repair, ...]
    findings: tuple[Finding, ...]


def clean(
    table: pa.Table,
    calendar: str,
    name: str,
    policies: Policies = NO_POLICIES,
    thresholds: Thresholds = DEFAULTS,
    *,
    now: datetime | None = None,
    before: pa.Table | None = None,
    frequency: str = "",
) -> Cleaned:
    """Check `table`, apply `policies`, and check what is left.

        Gaps where bars were taken away are known and refuse nothing. `before` are bars that `table` follows:
    <<<<<<< HEAD
        outliers, gaps and the like are told by them, and they are not judged again. `frequency` is what the
        source states of its bars. Raises `DataError` for
        whatever the policies reject; `name` is its origin.
    =======
        outliers, gaps and the like are told by them, and they are not judged again. Raises `DataError` for
        whatever the policies reject; `name` is its origin. What comes back names `calendar`.
    >>>>>>> 7d68002 (Stamps, days and sessions of bars follow the calendar, by one rule for every reader)
    """

    def found(bars: pa.Table) -> list[Finding]:
        def judge(rows: pa.Table) -> list[Finding]:
            return check(rows, calendar, thresholds, now=now, frequency=frequency)

        return judge(bars) if before is None or not before.num_rows else check_new(before, bars, judge)

    table = with_calendar(table, calendar)
    cleaned = apply_policies(table, found(table), policies, name)
    require_rest(cleaned, table, found, policies, name)
    return cleaned


def require_rest(
    cleaned: Cleaned,
    table: pa.Table,
    found: Callable[[pa.Table], list[Finding]],
    policies: Policies,
    name: str,
) -> None:
    """Check what is left of `table` after policies; `DataError` where the rest must not be believed.

    The bar after one that was set aside for a warning has been believed beside it: where the level stays,
    its own return from the bar before is that same warning, and no error.
    """
    if cleaned.table is table or not cleaned.table.num_rows:
        return
    after = _after_warnings(cleaned)
    left = [
        one
        for one in found(cleaned.table)
        if policies.of(one) != "report"
        and one.rule != "gap"
        and not (one.rule in ("outlier", "split") and (one.symbol, one.timestamp) in after)
    ]
    require_no_errors(left, f"{name}, after repairs")


def _after_warnings(cleaned: Cleaned) -> set[tuple[str, str]]:
    """Symbol and time of the first bar after each that was set aside for warnings alone."""
    rows = Rows(cleaned.table)
    times = {symbol: rows.times[places] for symbol, places in rows.groups}
    found = set()
    for row in cleaned.quarantined.select(["symbol", "timestamp", "severity"]).to_pylist():
        mine = times.get(row["symbol"])
        if row["severity"] != "warning" or mine is None:
            continue
        place = int(np.searchsorted(mine, to_datetime64(row["timestamp"]), side="right"))
        if place < len(mine):
            found.add((row["symbol"], moment(mine[place])))
    return found


def apply_policies(
    table: pa.Table, findings: Sequence[Finding], policies: Policies = NO_POLICIES, name: str = "these bars"
) -> Cleaned:
    """Do with `table` what `policies` say of `findings`, which `marketdata.quality.checks.check` made of it.

    Raises `DataError` for a finding whose policy is `reject`, errors first, and changes nothing then. A
    finding that rejects by default does not, where another rule's policy takes its bars away.
    """
    by_policy = {policy: [one for one in findings if policies.of(one) == policy] for policy in POLICIES}
    aside = _rows_of(table, by_policy["quarantine"])
    repairs = [_repair(finding) for finding in by_policy["repair"]]
    rules = {finding.rule for finding in by_policy["repair"]}
    dropped = _rows_of(table, [one for one in by_policy["repair"] if one.rule not in ("sorted", "unique")])
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
    """The findings but those of bars that go; these are added to what is on record of bars set aside."""
    moot = [one for one in findings if one.rule in OF_BARS and one.rule not in policies.rules]
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
    return Repair(finding.rule, finding.symbol, finding.timestamp, REPAIRS[finding.rule])


def _rows_of(table: pa.Table, findings: Iterable[Finding]) -> dict[int, list[Finding]]:
    """The rows that findings speak of, with the findings."""
    found: dict[int, list[Finding]] = {}
    places: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    symbols = None
    for finding in findings:
        if finding.symbol not in places:
            symbols = table["symbol"].to_numpy(zero_copy_only=False) if symbols is None else symbols
            mine = np.flatnonzero(symbols == finding.symbol)
            times = table["timestamp"].to_numpy()[mine].astype("datetime64[ns]")
            order = np.argsort(times, kind="stable")
            places[finding.symbol] = (mine[order], times[order])
        mine, times = places[finding.symbol]
        # Texts of timestamps go to the microsecond, stored ones may go beyond.
        start = to_datetime64(datetime.fromisoformat(finding.timestamp))
        first = int(np.searchsorted(times.astype("datetime64[us]"), start.astype("datetime64[us]")))
        last = int(np.searchsorted(times, times[min(first + finding.bars, len(times)) - 1], "right"))
        for row in mine[first:last].tolist():
            found.setdefault(row, []).append(finding)
    return dict(sorted(found.items()))


def _quarantined(table: pa.Table, aside: Mapping[int, list[Finding]]) -> pa.Table:
    rows = table.take(pa.array(list(aside), pa.int64()))
    texts = {
        name: pa.array(
            ["; ".join(dict.fromkeys(getattr(one, name) for one in found)) for found in aside.values()],
            pa.string(),
        )
        for name in ("rule", "value", "severity")
    }
    for name, values in texts.items():
        rows = rows.append_column(name, values)
    return rows


def _without_copies(table: pa.Table) -> pa.Table:
    """The first of rows that agree in every column; nulls agree with nulls."""
    import pandas as pd

    frame: pd.DataFrame = table.to_pandas()
    names = [*BARS_SCHEMA.names, *(name for name in table.schema.names if name not in BARS_SCHEMA.names)]
    return table.filter(pa.array(~frame.duplicated(subset=names).to_numpy()))
