"""Notices about a book and its strategy, shown in one line each when trading starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.book_limits import BookLimits, unfilled_cash_message
from alphaloop.decision.strategy import Strategy, StrategyIdentity
from alphaloop.settings.settings import Settings
from cli.model_card_view import format_strategy
from marketdata.source import Source
from models.registry.card import Card
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


def strategy_notice(card: Card, version: str, strategy: Strategy) -> str:
    """Return a notice where the figures on `card` are of another strategy than `strategy`; else nothing.

    A card of an earlier release names none; its figures are of `allocation`.
    """
    traded = StrategyIdentity.of(strategy).to_body()
    carded = dict(card.strategy) or {"name": AllocationStrategy.name}
    # The code of the built-in strategy may be edited without another weight.
    compared = {"name", "parameters"} if traded["name"] == AllocationStrategy.name else set(traded)
    if all(carded[name] == traded[name] for name in compared & set(carded)):
        return ""
    return (
        f"the figures on the card of version {version} are of the strategy {format_strategy(carded)}, and "
        f"{format_strategy(traded)} trades; training anew judges what will trade"
    )


def count_by_rule(refusals: Iterable[Refusal]) -> dict[str, int]:
    """Count refusals by rule, the most frequent first."""
    return dict(Counter(refusal.rule for refusal in refusals).most_common())


def format_refusals(refusals: dict[str, int]) -> str:
    """Format refusals by rule as `293 (max_weight 290, no_forecast 3)`."""
    rules = ", ".join(f"{rule} {count:,}" for rule, count in refusals.items())
    return f"{sum(refusals.values()):,}" + (f" ({rules})" if rules else "")
