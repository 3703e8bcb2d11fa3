"""Days, weeks and months as features count them: those of the bars' calendar.

A bar belongs to the market day on which it closes. The day is complete at the close of its session; once
bars outside of sessions were seen (early and late trading), with the first bar of the next day instead. On
a market that never closes a day ends at midnight UTC, in foreign exchange at 17:00 in New York.

Without a known calendar, days are those of UTC, unless a market that has a night trades at or near midnight
(Sydney): then days end in the middle of that night.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Timestamps
from marketdata.calendars import DAY, ROUND_THE_CLOCK, Days, Moments, day_ends, days_of, schedule, years_of

_NS_MINUTE, _NS_HOUR = 60 * 10**9, 3600 * 10**9
_NS_DAY = 24 * _NS_HOUR
# Without a calendar, the market's night is searched for in the first `NIGHT_SEARCH_SPAN` nanoseconds of its
# bars; a night is at least `MIN_NIGHT` long.
NIGHT_SEARCH_SPAN, MIN_NIGHT = 3 * _NS_DAY, 3 * _NS_HOUR
# Daylight saving time moves trading by an hour, so midnight UTC must lie at least this far inside the night.
MIN_MIDNIGHT_MARGIN = 2 * _NS_HOUR
NO_SHIFT = np.timedelta64(0, "ns")
NO_DAY = np.datetime64("NaT", "D")
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TradingDays:
    """The days of a calendar, or of UTC moved by `shift` if `calendar` is empty.

    By the day after `late`, bars outside of sessions had been seen: on later days, the close of the session
    does not end the day. `late` is NaT while no such bar was seen.
    """

    calendar: str = ""
    shift: np.timedelta64 = NO_SHIFT
    late: np.datetime64 = NO_DAY

    @classmethod
    def of(cls, times: Timestamps, calendar: str = "") -> TradingDays:
        """Return the days of bars that close at `times` (`datetime64[ns]`, sorted)."""
        stamps = np.asarray(times, dtype="datetime64[ns]")
        if not calendar:
            return cls(shift=_shift(stamps))
        return cls(calendar).after(stamps)

    def after(self, times: Timestamps) -> TradingDays:
        """Return these days updated with further bars that close at `times`."""
        if not np.isnat(self.late) or self.calendar in ("", ROUND_THE_CLOCK) or not len(times):
            return self
        stamps = closing_times(times)
        days = days_of(stamps, self.calendar)
        known = schedule(self.calendar, *years_of(days))
        if not len(known.days) or known.always_open:
            return self
        index = np.minimum(np.searchsorted(known.days, days), len(known.days) - 1)
        early, late = stamps <= known.opens[index], stamps > known.closes[index]
        outside = np.flatnonzero((known.days[index] == days) & (early | late))
        if not len(outside):
            return self
        # Early trading is observed before the close of its own day.
        first = outside[0]
        return replace(self, late=days[first] - DAY if early[first] else days[first])

    def numbers(self, times: Timestamps) -> Days:
        """Return the day of each bar, `datetime64[D]`."""
        return days_of(closing_times(times) - self.shift, self.calendar)

    def borders(self, following: Days) -> Moments:
        """Return the end of the day before each of `following` (`datetime64[D]`), `datetime64[ns]`."""
        return day_ends(following - DAY, self.calendar) + self.shift

    def complete(self, times: Timestamps, first: Days, following: Days) -> Flags:
        """Return True where a period is complete with the bar that closes at each of `times`.

        The bar's period has the days from `first` up to the day before `following` (`datetime64[D]`, `[T]`).
        """
        stamps = closing_times(times)
        over = stamps >= self.borders(following)
        if self.calendar in ("", ROUND_THE_CLOCK) or not len(stamps):
            return over
        days, closes = self._last_sessions(first, following)
        return over | ((stamps >= closes) & ~self._waits(days))

    def counted(self, times: Timestamps) -> Days:
        """Return the day with which each bar is counted in coarser bars.

        This is the bar's own day, or the next session's where the own day counted as complete already: on the
        first day with late trading, and on a day without a session.
        """
        days = self.numbers(times)
        if self.calendar in ("", ROUND_THE_CLOCK) or not len(days):
            return days
        _, closes = self._last_sessions(days, days + DAY)
        stray = ~(closing_times(times) <= closes) & ~self._waits(days)
        if not stray.any():
            return days
        known = schedule(self.calendar, *years_of(days)).days
        index = np.searchsorted(known, days, side="right")
        following = np.where(index < len(known), known[np.minimum(index, len(known) - 1)], days)
        return np.where(stray, following, days)

    def _waits(self, days: Days) -> Flags:
        """Return True where a day is complete only with the first bar of the next day."""
        if np.isnat(self.late):
            return np.zeros(len(days), dtype=bool)
        return np.asarray(days > self.late)

    def _last_sessions(self, first: Days, following: Days) -> tuple[Days, Moments]:
        """Return day and close of the last session from `first` to before `following`.

        NaT where there is none.
        """
        known = schedule(self.calendar, *years_of(np.r_[first.min(), following.max() - DAY]))
        if not len(known.days):
            return np.full(len(first), NO_DAY), np.full(len(first), np.datetime64("NaT", "ns"))
        index = np.searchsorted(known.days, following, side="left") - 1
        last = np.maximum(index, 0)
        inside = (index >= 0) & (known.days[last] >= first)
        never = np.datetime64("NaT", "ns")
        return np.where(inside, known.days[last], NO_DAY), np.where(inside, known.closes[last], never)


def closing_times(times: Timestamps) -> Moments:
    """Return the bars' closes; those in a minute's last second (23:59:59.999) become its end."""
    stamps = np.asarray(times, dtype="datetime64[ns]")
    missing = (-stamps.astype(np.int64)) % _NS_MINUTE
    return np.where(missing <= 10**9, stamps + missing.astype("timedelta64[ns]"), stamps)


def _shift(stamps: Moments) -> np.timedelta64:
    """Return how far days end from midnight UTC, inferred from the first bars.

    0 unless the bars trade over midnight. `stamps` are those of a market that has a night.
    """
    moments = stamps.astype(np.int64)
    if len(moments) < 2 or moments[-1] - moments[0] < NIGHT_SEARCH_SPAN:
        return NO_SHIFT
    moments = moments[moments <= moments[0] + NIGHT_SEARCH_SPAN]
    step = int(np.median(np.diff(moments))) if len(moments) > 1 else _NS_DAY
    clock = np.unique(moments % _NS_DAY)
    if step >= _NS_DAY // 2:
        return NO_SHIFT
    # The longest stretch of the day without a bar lies between one bar's close and the next bar's opening.
    quiet = np.diff(np.r_[clock, clock[0] + _NS_DAY]) - step
    longest = int(quiet.argmax())
    begins, length = int(clock[longest]), int(quiet[longest])
    if length < MIN_NIGHT or MIN_MIDNIGHT_MARGIN <= (-begins) % _NS_DAY <= length - MIN_MIDNIGHT_MARGIN:
        return NO_SHIFT
    middle = (begins + length // 2) % _NS_DAY
    return np.timedelta64(middle - _NS_DAY if middle > _NS_DAY // 2 else middle, "ns")
