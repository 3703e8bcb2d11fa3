"""User-defined holidays: calendar sessions on which the market was closed.

Setting `data.holidays`: a special closing that the calendar does not know, a day on which a venue was down.
No bars are expected then, and a bar on such a day counts as one while the market was closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alphaloop.bars import to_datetime64
from marketdata.calendars import ROUND_THE_CLOCK, Moments, open_time, session_predicate
from marketdata.quality.bar_rows import BarRows, Indices
from marketdata.quality.finding import Finding, Severity
from marketdata.quality.rules.grid import SessionTimes
from marketdata.quality.rules.session import DAY
from marketdata.quality.thresholds import Thresholds


@dataclass(frozen=True)
class Holidays:
    """Sessions of `calendar` on `days` (as 2019-01-31) that did not take place.

    Covers the years of `times`.
    """

    calendar: str
    days: Sequence[str]
    times: Moments

    @cached_property
    def _sessions(self) -> SessionTimes:
        if self.calendar != ROUND_THE_CLOCK:
            return SessionTimes.of(self.times, self.calendar)
        # One day more, so that the last one is complete.
        first, last = (end.astype("M8[Y]") for end in (self.times.min(), self.times.max()))
        ends = np.arange(first.astype("M8[D]"), (last + 1).astype("M8[D]") + 1).astype("M8[ns]") + DAY
        return SessionTimes(ends.astype(np.int64) - DAY, ends.astype(np.int64))

    @cached_property
    def _sessions_days(self) -> npt.NDArray[np.datetime64]:
        # The last moment inside a session is on its day, even where the session ends at midnight.
        return (self._sessions.closes - 1).astype("M8[ns]").astype("M8[D]")

    @cached_property
    def _closed(self) -> Indices:
        """Indices of the sessions that did not take place."""
        return np.flatnonzero(np.isin(self._sessions_days, np.array(self.days, dtype="M8[D]")))

    def rows(self) -> Iterator[tuple[int, str]]:
        """Yield the index of each of `times` inside such a session, with its day."""
        places = self._sessions.place(self.times)
        inside = np.isin(places, self._closed) & (places >= 0)
        for row in np.flatnonzero(inside).tolist():
            yield row, str(self._sessions_days[places[row]])

    def open_time(self, start: np.datetime64, end: np.datetime64) -> int:
        """Return the nominal open time on these days between two moments, in nanoseconds."""
        if not self.days:
            return 0
        first, last = (moment.astype("M8[ns]").astype(np.int64) for moment in (start, end))
        opens, closes = (ends[self._closed] for ends in (self._sessions.opens, self._sessions.closes))
        begins, ends = np.maximum(opens, first), np.minimum(closes, last)
        met = begins < ends
        if not met.any():
            return 0
        opened = open_time(np.r_[begins[met], ends[met]].astype("M8[ns]"), self.calendar)
        return int((opened[met.sum() :] - opened[: met.sum()]).sum())


def without_holidays(
    findings: Iterable[Finding], rows: BarRows, calendar: str, thresholds: Thresholds
) -> Iterator[Finding]:
    """Yield the findings without gaps on holidays, and a finding for each bar on a holiday."""
    if not thresholds.holidays:
        yield from findings
        return
    holidays = Holidays(calendar, thresholds.holidays, rows.times)
    for row, day in holidays.rows():
        yield rows.finding("calendar", row, f"{day} is one of data.holidays")
    times = {symbol: np.unique(rows.times[places]) for symbol, places in rows.groups}
    for finding in findings:
        if finding.rule != "gap":
            yield finding
        elif len(finding.timestamp) == len("2019-01-31"):
            if finding.timestamp not in thresholds.holidays:
                yield finding
        else:
            yield from _shortened(finding, times[finding.symbol], holidays, calendar, thresholds)


def _shortened(
    gap: Finding, times: Moments, holidays: Holidays, calendar: str, thresholds: Thresholds
) -> Iterator[Finding]:
    """Yield a gap between bars without the holidays in it, if any of it is left."""
    start = to_datetime64(datetime.fromisoformat(gap.timestamp))
    index = int(np.searchsorted(times.astype("M8[us]"), start.astype("M8[us]")))
    spent = np.diff(open_time(times, calendar))
    rest = spent[index] - holidays.open_time(times[index], times[index + 1])
    count = int(np.rint(rest / max(int(np.median(spent)), 1))) - 1
    if count > 0:
        severity: Severity = "error" if count > thresholds.gap_bars else "warning"
        value = f"{count} bar{' is' if count == 1 else 's are'} missing after this one"
        yield replace(gap, value=value, severity=severity)


def session_predicate_without(calendar: str, days: Sequence[str]) -> Callable[[datetime, datetime], bool]:
    """Return a function: True if the market was open between two moments, except on `days`."""
    opened = session_predicate(calendar)
    if not days:
        return opened

    def opened_otherwise(start: datetime, end: datetime) -> bool:
        moments = np.array([to_datetime64(start), to_datetime64(end)])
        first, last = open_time(moments, calendar)
        return bool(last - first > Holidays(calendar, days, moments).open_time(*moments))

    return opened_otherwise
