"""Replay of every journaled decision, each compared with the orders that were sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alphaloop.errors import ChainBrokenError, InputError, NotReplayableError
from alphaloop.journal.record import Record
from alphaloop.orders import Order
from alphaloop.settings.settings import Settings
from loop import audit
from trading.journal_records import order_from_body
from trading.redecide import redecide_orders


class ReplayOutcome(StrEnum):
    """The outcome of a decision that was made again."""

    IDENTICAL = "identical"
    BROKEN = "broken"
    NOT_REPLAYABLE = "not replayable"


@dataclass(frozen=True, slots=True)
class ReplayedDecision:
    """A journaled decision that was made again.

    Parameters
    ----------
    decision_id, as_of : str
        Identifier of the decision, and close of its bar as ISO text.
    seq : int
        Number of its record.
    orders : int
        Number of journaled orders.
    outcome : ReplayOutcome
        `broken` where other orders follow than were journaled, `not replayable` where the code of the
        strategy, or the rule, is not here.
    reason : str
        Explanation; empty where the orders are identical.
    """

    decision_id: str
    as_of: str
    seq: int
    orders: int
    outcome: ReplayOutcome
    reason: str = ""


def replay_decisions(settings: Settings) -> list[ReplayedDecision]:
    """Make every journaled decision again, and compare its orders with the journaled ones.

    Parameters
    ----------
    settings : Settings
        Paths of journal and anchors, and the plug-ins in use.

    Returns
    -------
    list of ReplayedDecision
        One a decision, oldest first.

    Raises
    ------
    MissingStateError
        Where there is no journal.
    PluginError
        For a plug-in that cannot be loaded.
    """
    return [_replayed(decision, orders) for decision, orders in _decisions(settings)]


def _decisions(settings: Settings) -> Iterator[tuple[Record, list[Order]]]:
    """Yield each decision with its orders, which are journaled right after it."""
    decision, orders = None, list[Order]()
    for record in audit.trading_records(settings):
        if record.kind == audit.DECISION:
            if decision is not None:
                yield decision, orders
            decision, orders = record, []
        elif record.kind == audit.ORDER:
            orders.append(order_from_body(record.body))
    if decision is not None:
        yield decision, orders


def _replayed(decision: Record, orders: list[Order]) -> ReplayedDecision:
    outcome, reason = _compare(decision.body, orders)
    body = decision.body
    return ReplayedDecision(
        str(body.get("decision_id")), str(body.get("as_of")), decision.seq, len(orders), outcome, reason
    )


def _compare(body: dict[str, Any], orders: list[Order]) -> tuple[ReplayOutcome, str]:
    try:
        again = redecide_orders(body)
    except (NotReplayableError, InputError) as error:
        return ReplayOutcome.NOT_REPLAYABLE, str(error)
    except ChainBrokenError as error:
        return ReplayOutcome.BROKEN, str(error)
    if again == orders:
        return ReplayOutcome.IDENTICAL, ""
    differing = sorted({one.symbol for one in {*again} ^ {*orders}})
    return ReplayOutcome.BROKEN, f"other orders follow from it, in {', '.join(differing)}"
