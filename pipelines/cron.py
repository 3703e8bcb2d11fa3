"""Cron expressions as Kubeflow reads them: six fields, seconds first, in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from alphaloop.errors import InputError

FIELDS = (
    ("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23),
    ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 6),
)  # fmt: skip
NAMES = {
    "month": ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    "weekday": ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
}
MAX_DAYS_BACK = 5 * 366


@dataclass(frozen=True, slots=True)
class Cron:
    """Times of a schedule.

    Parameters
    ----------
    text : str
        The expression with its six fields.
    values : tuple of frozenset of int
        Values of each field.
    any_day, any_weekday : bool
        True where the field is free, so that the other one alone decides.
    """

    text: str
    values: tuple[frozenset[int], ...]
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> Cron:
        """Read an expression of six fields, or of five without seconds.

        Raises `InputError` for anything else, with the field that is wrong.

        Examples
        --------
        >>> Cron.parse("30 21 * * mon-fri").text
        '0 30 21 * * mon-fri'
        """
        parts = text.split()
        if len(parts) == len(FIELDS) - 1:
            parts = ["0", *parts]
        if len(parts) != len(FIELDS):
            raise InputError(
                f"cron '{text}' has {len(parts)} fields; write six (second minute hour day month weekday), "
                "as '0 30 21 * * 1-5'"
            )
        values = tuple(_values(part, *field) for part, field in zip(parts, FIELDS, strict=True))
        return cls(" ".join(parts), values, parts[3] in "*?", parts[5] in "*?")

    def slot(self, moment: datetime | str) -> datetime:
        """Return the last time of the schedule at or before `moment`, in UTC.

        Raises `InputError` for text that is no time, and where the schedule has no time in five years.

        Examples
        --------
        >>> Cron.parse("0 30 21 * * 1-5").slot("2026-11-29T12:00:05Z").isoformat()
        '2026-11-27T21:30:00+00:00'
        """
        at = _time(moment) if isinstance(moment, str) else moment.astimezone(UTC)
        seconds, minutes, hours = (sorted(one, reverse=True) for one in self.values[:3])
        for back in range(MAX_DAYS_BACK):
            day = (at - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
            if not self._has(day):
                continue
            for hour in hours:
                for minute in minutes:
                    for second in seconds:
                        found = day.replace(hour=hour, minute=minute, second=second)
                        if found <= at:
                            return found
        raise InputError(f"cron '{self.text}' names no time of the five years before {at:%Y-%m-%d}")

    def _has(self, day: datetime) -> bool:
        days, months, weekdays = self.values[3:]
        in_month, in_week = day.day in days, day.isoweekday() % 7 in weekdays
        # As cron has it: of two fields that both name days, one is enough.
        both = in_month and in_week if self.any_day or self.any_weekday else in_month or in_week
        return day.month in months and both


def _values(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        span, _, step = part.partition("/")
        first, sign, last = span.partition("-")
        try:
            if span in ("*", "?"):
                begin, end = low, high
            else:
                begin = _number(first, name)
                end = _number(last, name) if sign else (high if step else begin)
            every = int(step) if step else 1
        except ValueError:
            begin, end, every = 1, 0, 1
        if not low <= begin <= end <= high or every < 1:
            raise InputError(
                f"cron: the {name} '{part}' is none of {low}–{high}, nor a range or list of these"
            )
        found.update(range(begin, end + 1, every))
    return frozenset(found)


def _number(text: str, name: str) -> int:
    names = NAMES.get(name, ())
    return names.index(text) if text and text in names else int(text)


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"the slot '{text}' is no time, as 2026-11-27T21:30:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
