"""Audit: is the journal whole, and does an order still follow from what was known?"""

from __future__ import annotations

from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import ChainBrokenError, InputError, MissingStateError, UnknownNameError
from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.journal.verification import ChainReport
from alphaloop.journal.verification import verify as verify_chains
from alphaloop.settings.settings import Settings
from trading.redecide import redecide, rule_of

TRADING_STREAM = "trading"
ORDER, DECISION, FILL = "order", "decision", "fill"


def verify(settings: Settings) -> list[ChainReport]:
    """Check every chain against its hashes and the anchors; a journal that is gone is reported.

    Raises `MissingStateError` where there never was a journal.
    """
    paths = settings.paths
    chains = verify_chains(paths.journal, paths.anchors)
    if not chains and not paths.journal.exists():
        raise _no_journal(settings)
    return chains


def adopt(settings: Settings, by: str, reason: str) -> list[Record]:
    """Vouch for the records that no anchor names, by a record in each stream that says who did and why.

    Returns these records; none where every record is anchored. Raises `InputError` without a name or a
    reason, and `ChainBrokenError` for a journal in which something else is wrong; nothing is adopted then.
    """
    if not by.strip() or not reason.strip():
        raise InputError("who adopts records, and why, cannot be empty: --by NAME --reason TEXT")
    chains = verify(settings)
    broken = [chain for chain in chains if not chain.ok and not chain.unanchored]
    if broken:
        raise ChainBrokenError(f"nothing was adopted, for this cannot be: {broken[0].problem}")
    loose = [chain.stream for chain in chains if chain.unanchored]
    if not loose:
        return []
    with _open(settings) as journal:
        return [journal.adopt(stream, by.strip(), reason.strip()) for stream in loose]


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
    if not paths.journal.exists() and not paths.anchors.exists():
        raise _no_journal(settings)
    return Journal(paths.journal, paths.anchors, SystemClock())


def _no_journal(settings: Settings) -> MissingStateError:
    return MissingStateError(f"no journal at {settings.paths.journal}; `alphaloop trade` starts one")
