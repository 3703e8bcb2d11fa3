"""Formatting of figures, dates and outcomes for reports and terminals."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

DASH = "–"
RECENT_BARS = 40
"""Number of last bars by which daily and intraday bars are told apart."""
MONTHS = ("January", "February", "March", "April", "May", "June",
          "July", "August", "September", "October", "November", "December")  # fmt: skip
OUTCOME_TONES = {"promoted": "good", "rolled_back": "bad", "rejected": "warn", "undecided": "muted"}
OUTCOME_WORDS = {"rolled_back": "rolled back"}


def is_finite_number(value: Any) -> bool:
    """Return True for a finite number that is not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_below(value: Any, bound: float) -> bool:
    """Return True for a finite number below `bound`."""
    return is_finite_number(value) and bool(value < bound)


def format_decimal(value: Any, digits: int = 2) -> str:
    """Format a number with `digits` decimals and a true minus sign.

    Anything else gives a dash.
    """
    if not is_finite_number(value):
        return DASH
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def format_percent(value: Any, digits: int = 1, *, signed: bool = False) -> str:
    """Format a share as per cent."""
    if not is_finite_number(value):
        return DASH
    sign = "+" if signed and round(value * 100, digits) > 0 else ""
    return f"{sign}{format_decimal(value * 100, digits)} %"


def format_share(value: Any) -> str:
    """Format a share as per cent, with enough digits to tell it from 0 % and 100 %."""
    if not is_finite_number(value):
        return DASH
    for digits in (0, 1, 2, 3):
        shown = round(value * 100, digits)
        if (shown > 0) is (value > 0) and (shown < 100) is (value < 1):
            return format_percent(value, digits)
    return f"{value * 100:.1e} %".replace("e-0", "e-").replace("e-", "e−")


def format_count(value: Any) -> str:
    """Format a count with thousands separators."""
    return f"{int(value):,}" if is_finite_number(value) else DASH


def format_milliseconds(value: Any) -> str:
    """Format a duration in milliseconds, with more decimals below 10 ms."""
    return (
        f"{format_decimal(value, 1 if is_finite_number(value) and value >= 10 else 2)} ms"
        if is_finite_number(value)
        else DASH
    )


def format_difference(value: Any) -> str:
    """Format a difference that should be zero: `0`, or in powers of ten."""
    if not is_finite_number(value):
        return DASH
    return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-").replace("e-", "e−")


def format_figure(value: Any) -> str:
    """Format any value of a record: numbers shortened, times as days, lists joined, a dash for None."""
    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        return format_day(value)
    return flatten_facts(value)[0][1] if not isinstance(value, dict) else str(value)


def format_day(value: Any) -> str:
    """Return the day of an ISO timestamp."""
    return str(value)[:10] if value else DASH


def format_time(value: Any, *, intraday: bool) -> str:
    """Format a time or its ISO text: the day, and the time in UTC where bars are intraday."""
    text = value.isoformat() if isinstance(value, datetime) else str(value or "")
    found = re.match(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?", text)
    if not found or not intraday:
        return format_day(text)
    seconds = found[3] if found[3] not in (None, ":00") else ""
    return f"{found[1]} {found[2]}{seconds}"


def are_intraday(moments: Iterable[Any]) -> bool:
    """Return True where two of the last distinct times, or ISO texts, fall on one day."""
    recent = list(moments)[-RECENT_BARS:]
    texts = {one.isoformat() if isinstance(one, datetime) else str(one or "") for one in recent}
    return len({text[:10] for text in texts}) < len(texts)


def format_long_day(value: Any) -> str:
    """Format the day of an ISO timestamp in words: `2 January 2019`."""
    on = date.fromisoformat(str(value)[:10])
    return f"{on.day} {MONTHS[on.month - 1]} {on.year}"


def shorten_id(identifier: Any, length: int = 12) -> str:
    """Return the first `length` characters of an identifier; a dash for None."""
    return str(identifier)[:length] if identifier else DASH


def format_outcome(value: Any) -> str:
    """Format the outcome of a rollout in words."""
    return OUTCOME_WORDS.get(str(value), str(value or DASH))


def count_noun(count: int, noun: str, plural: str = "") -> str:
    """Format a count with its noun: `1 alarm`, `3 alarms`, `no alarm`."""
    if count == 0:
        return f"no {noun}"
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def join_names(names: Sequence[str]) -> str:
    """Join names as `a`, `a and b`, `a, b and c`."""
    if len(names) < 2:
        return "".join(names)
    return ", ".join(names[:-1]) + " and " + names[-1]


def flatten_facts(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Flatten a nested mapping into pairs of dotted names and readable values.

    Lists are joined.
    """
    if isinstance(value, dict):
        return [pair for key, inner in value.items() for pair in flatten_facts(inner, f"{prefix}{key}.")]
    name = prefix.rstrip(".").replace("_", " ")
    if isinstance(value, list | tuple):
        return [(name, ", ".join(dict(flatten_facts(one)).get("", str(one)) for one in value) or DASH)]
    if isinstance(value, bool) or value is None:
        return [(name, {True: "yes", False: "no", None: DASH}[value])]
    if isinstance(value, float):
        return [(name, f"{value:.4g}".replace("-", "−"))]
    return [(name, str(value))]
