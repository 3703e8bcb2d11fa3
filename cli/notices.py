"""Notices about the limits of a book, shown in one line each when trading starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from alphaloop.decision.book_limits import BookLimits, unfilled_cash_message
from alphaloop.settings.settings import Settings
from marketdata.source import Source
from trading.risk.risk_check import Refusal


def book_notices(settings: Settings, source: Source, names: int) -> list[str]:
    """Return the notices for a book of `names` symbols of `source`.

    Most books have none.
    """
    lines = [unfilled_cash_message(BookLimits.from_settings(settings.trading), names)]
    if source.adjusted_only:
        lines.append(
            f"source '{source.name}' has adjusted prices only: splits and dividends are in the prices and "
            "are not booked again, and orders at these prices are simulated"
        )
    return [line for line in lines if line]


def count_by_rule(refusals: Iterable[Refusal]) -> dict[str, int]:
    """Count refusals by rule, the most frequent first."""
    return dict(Counter(refusal.rule for refusal in refusals).most_common())


def format_refusals(refusals: dict[str, int]) -> str:
    """Format refusals by rule as `293 (max_weight 290, no_forecast 3)`."""
    rules = ", ".join(f"{rule} {count:,}" for rule, count in refusals.items())
    return f"{sum(refusals.values()):,}" + (f" ({rules})" if rules else "")
