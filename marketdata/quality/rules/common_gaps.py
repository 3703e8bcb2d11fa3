"""Gaps common to all symbols, reported once: a closed market, or a failed feed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from alphaloop.bars import to_datetime64
from marketdata.calendars import session_closes
from marketdata.quality.bar_rows import BarRows
from marketdata.quality.finding import Finding, Severity

HOLIDAY_HINT = "if the market was closed, name its days in data.holidays"


def with_common_gaps(findings: Iterable[Finding], rows: BarRows, calendar: str) -> Iterator[Finding]:
    """Yield the findings, with each gap common to all symbols as one finding without a symbol.

    Consecutive sessions without bars are one gap, too.
    """
    listed = list(findings)
    groups: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for finding in listed:
        if finding.rule == "gap":
            groups[finding.timestamp, finding.value].append(finding)
    ends = [(rows.times[places[0]], rows.times[places[-1]]) for _, places in rows.groups]
    common = {
        key: shared
        for key, shared in groups.items()
        if len(shared) > 1 and len(shared) == _alive(ends, key[0])
    }
    yield from (
        finding
        for finding in listed
        if (finding.timestamp, finding.value) not in common or finding.rule != "gap"
    )
    days = {key[0]: shared for key, shared in common.items() if _is_day(key[0])}
    yield from _runs_of_days(days, calendar)
    for (moment, value), shared in common.items():
        if moment not in days:
            together = f"{value}, of any of the {len(shared)} symbols; {HOLIDAY_HINT}"
            yield replace(shared[0], symbol="", value=together, severity=_worst(shared))


def _runs_of_days(days: dict[str, list[Finding]], calendar: str) -> Iterator[Finding]:
    """Yield one finding for each run of sessions without a bar of any symbol."""
    if not days:
        return
    first, last = date.fromisoformat(min(days)), date.fromisoformat(max(days))
    sessions = [str(day) for day in session_closes(first, last, calendar).astype("datetime64[D]")]
    begins = [
        index
        for index, day in enumerate(sessions)
        if day in days and (index == 0 or sessions[index - 1] not in days)
    ]
    for index in begins:
        run = [sessions[index]]
        while index + len(run) < len(sessions) and sessions[index + len(run)] in days:
            run.append(sessions[index + len(run)])
        shared = days[run[0]]
        sessions_told = (
            f"this session of {calendar}" if len(run) == 1 else f"{len(run)} sessions of {calendar}"
        )
        value = f"no bar of any of the {len(shared)} symbols on {sessions_told}"
        value += f", to {run[-1]}" if len(run) > 1 else ""
        yield replace(shared[0], symbol="", value=f"{value}; {HOLIDAY_HINT}", severity=_worst(shared))


def _alive(ends: Sequence[tuple[np.datetime64, np.datetime64]], moment: str) -> int:
    """Count the symbols with bars before and after a gap on a day, or after a bar."""
    if _is_day(moment):
        day = np.datetime64(moment, "D")
        return sum(first.astype("M8[D]") <= day <= last.astype("M8[D]") for first, last in ends)
    at = to_datetime64(datetime.fromisoformat(moment)).astype("M8[us]")
    return sum(first.astype("M8[us]") <= at < last.astype("M8[us]") for first, last in ends)


def _is_day(moment: str) -> bool:
    return len(moment) == len("2019-01-31")


def _worst(findings: Sequence[Finding]) -> Severity:
    return "error" if any(finding.severity == "error" for finding in findings) else "warning"
