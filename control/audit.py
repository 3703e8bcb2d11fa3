"""Audit: is the journal whole, and does an order still follow from what was known?"""

from __future__ import annotations

from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import MissingStateError, UnknownNameError
from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import ChainReport
from alphaloop.journal.verification import verify as verify_chains
from alphaloop.settings import Settings
from trading.replay import redecide, rule_of

TRADING_STREAM = "trading"
ORDER, DECISION, FILL = "order", "decision", "fill"


def verify(settings: Settings) -> list[ChainReport]:
    """Check every chain against its hashes and the anchors; raises `MissingStateError` for no journal."""
    paths = settings.paths
    if not paths.journal.exists():
        raise MissingStateError(f"no journal at {paths.journal}; `alphaloop trade` starts one")
    return verify_chains(paths.journal, paths.anchors)


def replay(settings: Settings, order_id: str) -> dict[str, Any]:
    """Decide anew what order `order_id` came from; `identical` says whether the same order results.

    Raises `UnknownNameError` for an order that the journal does not hold.
    """
    order, decision = _order_and_decision(_open(settings), order_id)
    again = {one.client_order_id: one for one in redecide(decision.body)}
    made = again.get(order_id)
    fields = ("symbol", "side", "quantity")
    recomputed = {name: str(getattr(made, name)) for name in fields} if made else None
    journaled = {name: str(order.body[name]) for name in fields}
    return {
        "order_id": order_id,
        "identical": recomputed == journaled,
        "journaled": journaled,
        "recomputed": recomputed,
        "decision": {
            "seq": decision.seq,
            "as_of": decision.body["as_of"],
            "rule": rule_of(decision.body),
            "hash": decision.hash,
        },
        "orders_in_decision": len(again),
    }


def orders(settings: Settings) -> list[str]:
    """The ids of every journaled order, oldest first."""
    return [record.body["client_order_id"] for record in _open(settings).records(TRADING_STREAM, ORDER)]


def order_records(settings: Settings, order_id: str) -> tuple[Record, Record, list[Record]]:
    """The records of an order, of its decision and of its fills."""
    journal = _open(settings)
    order, decision = _order_and_decision(journal, order_id)
    fills = [
        record
        for record in journal.records(TRADING_STREAM, FILL, after=order.seq)
        if record.body["client_order_id"] == order_id
    ]
    return order, decision, fills


def _order_and_decision(journal: Journal, order_id: str) -> tuple[Record, Record]:
    order = journal.find(TRADING_STREAM, ORDER, client_order_id=order_id)
    if order is None:
        recent = [record.body["client_order_id"] for record in journal.records(TRADING_STREAM, ORDER)]
        raise UnknownNameError("order", order_id, recent[-12:], where="the journal")
    decision = journal.find(TRADING_STREAM, DECISION, decision_id=order.body["decision_id"])
    if decision is None:
        raise MissingStateError(
            f"order {order_id} names decision {order.body['decision_id']}, which is not journaled"
        )
    return order, decision


def _open(settings: Settings) -> Journal:
    paths = settings.paths
    if not paths.journal.exists():
        raise MissingStateError(f"no journal at {paths.journal}; `alphaloop trade` starts one")
    return Journal(paths.journal, paths.anchors, SystemClock())
