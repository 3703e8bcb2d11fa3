"""Corporate actions reported twice: copies count once, contradictions are an error.

Feeds repeat rows: a page is sent again, a vendor reports a split under two names, two vendors are merged.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import date
from typing import TYPE_CHECKING

from alphaloop.errors import DataError

if TYPE_CHECKING:
    from marketdata.point_in_time.action_record import CorporateAction


def without_duplicates(actions: Sequence[CorporateAction]) -> list[CorporateAction]:
    """Return the actions in the order given, each event once, as first published.

    A symbol has at most one ratio (split or stock dividend), one delisting and one change of name on an
    ex-date; reported again with the same terms, it is the same event. Distributions are the same event if all
    but their publication is equal; two of equal worth on one day need different identifiers. Raises
    `DataError` for two events of one ex-date with different terms.
    """
    kept: dict[Hashable, int] = {}
    by_group: dict[tuple[str, date, str], CorporateAction] = {}
    for index in sorted(range(len(actions)), key=lambda index: actions[index].published):
        action = actions[index]
        group, terms = (action.symbol, action.ex_date, _group(action)), _terms(action)
        kept.setdefault((group, terms), index)
        # A ratio of one is a cancelled split, and contradicts none.
        if _is_distribution(action) or (terms == 1.0 and _group(action) == "ratio"):
            continue
        other = by_group.setdefault(group, action)
        if _terms(other) != terms:
            raise DataError(
                f"{_in_words(other)} and {_in_words(action)} of {action.symbol} are both on "
                f"{action.ex_date}; leave one out, or give both one identifier so that the later publication "
                "replaces the earlier"
            )
    return [actions[index] for index in sorted(kept.values())]


def _group(action: CorporateAction) -> str:
    return "ratio" if action.kind in ("split", "stock_dividend") else action.kind


def _is_distribution(action: CorporateAction) -> bool:
    return action.kind in ("cash_dividend", "spin_off")


def _terms(action: CorporateAction) -> Hashable:
    """Return the values that two reports of one event share, besides symbol, ex-date and group."""
    if _is_distribution(action):
        return action.value, action.currency, action.identifier
    if action.kind == "symbol_change":
        return action.new_symbol
    # One vendor reports thirds with six digits and another with sixteen.
    return round(1.0 + action.value if action.kind == "stock_dividend" else action.value, 6)


def _in_words(action: CorporateAction) -> str:
    if action.kind == "symbol_change":
        return f"a change of name to {action.new_symbol}"
    return f"a {action.kind.replace('_', ' ')} of {action.value:g}"
