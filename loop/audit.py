"""Audit: verify the journal's hash chains and replay the decision behind an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alphaloop.clock import SystemClock
from alphaloop.errors import ChainBrokenError, InputError, MissingStateError, UnknownNameError
from alphaloop.journal.opening import has_journal, journal_name, open_journal, verify_configured_journal
from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.journal.upkeep.normal_form import normal_form
from alphaloop.journal.verification import ChainReport
from alphaloop.settings.settings import Settings
from trading.decision import journaled_strategy
from trading.redecide import redecide_orders, rule_number

TRADING_STREAM = "trading"
ORDER, DECISION, FILL = "order", "decision", "fill"


def audit_journal(settings: Settings) -> list[ChainReport]:
    """Verify every hash chain of the journal and its anchors.

    Parameters
    ----------
    settings : Settings
        Paths of journal and anchors.

    Returns
    -------
    list of ChainReport
        One report a stream; a deleted journal is reported as broken through its anchors.

    Raises
    ------
    MissingStateError
        Where there never was a journal.
    """
    chains = verify_configured_journal(settings)
    if not chains and not has_journal(settings):
        raise _no_journal(settings)
    return chains


def normal_records(settings: Settings, stream: str) -> Iterator[dict[str, Any]]:
    """Yield kind and body of a stream's records, as `normal_form` gives them.

    Raises `MissingStateError` where there never was a journal, `UnknownNameError` for an unknown stream.
    """
    if not has_journal(settings):
        raise _no_journal(settings)
    with open_journal(settings, SystemClock()) as journal:
        known = journal.streams()
        if stream not in known:
            raise UnknownNameError("stream", stream, known)
        yield from normal_form(journal.records(stream))


def adopt_records(settings: Settings, by: str, reason: str) -> list[Record]:
    """Vouch for unanchored records, by a record in each stream with the name and the reason.

    Parameters
    ----------
    settings : Settings
        Paths of journal and anchors.
    by, reason : str
        Operator and reason, neither empty.

    Returns
    -------
    list of Record
        The new records; empty where every record is anchored.

    Raises
    ------
    InputError
        Without a name or a reason.
    ChainBrokenError
        For a journal with any other fault; nothing is adopted then.
    MissingStateError
        Where there never was a journal.
    """
    if not by.strip() or not reason.strip():
        raise InputError("who adopts records, and why, cannot be empty: --by NAME --reason TEXT")
    chains = audit_journal(settings)
    broken = [chain for chain in chains if not chain.ok and not chain.unanchored]
    if broken:
        raise ChainBrokenError(f"nothing was adopted, for this cannot be: {broken[0].problem}")
    loose = [chain.stream for chain in chains if chain.unanchored]
    if not loose:
        return []
    with _open(settings) as journal:
        return [journal.adopt(stream, by.strip(), reason.strip()) for stream in loose]


def replay_order(settings: Settings, order_id: str) -> dict[str, Any]:
    """Replay the decision behind an order and compare the resulting order with the journaled one.

    Parameters
    ----------
    settings : Settings
        Paths of journal and anchors.
    order_id : str
        Client order id.

    Returns
    -------
    dict
        `identical` (bool), the `journaled` and the `recomputed` order (None where the decision gives none),
        and the `decision` with its sequence number, bar, rule, strategy and hash.

    Raises
    ------
    UnknownNameError
        For an order that the journal does not hold.
    MissingStateError
        Where there is no journal, or the order's decision is not in it.
    NotReplayableError
        Where the code of the decision's strategy is not here.
    """
    order, decision = _order_and_decision(_open(settings), order_id)
    again = {one.client_order_id: one for one in redecide_orders(decision.body)}
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
            "rule": rule_number(decision.body),
            "strategy": journaled_strategy(decision.body).to_body(),
            "hash": decision.hash,
        },
        "orders_in_decision": len(again),
    }


def trading_records(settings: Settings) -> Iterator[Record]:
    """Return the records of trading, oldest first; raises `MissingStateError` where there is no journal."""
    return _open(settings).records(TRADING_STREAM)


def order_ids(settings: Settings) -> list[str]:
    """Return the client order ids of all journaled orders, oldest first."""
    return [record.body["client_order_id"] for record in _open(settings).records(TRADING_STREAM, ORDER)]


def order_records(settings: Settings, order_id: str) -> tuple[Record, Record, list[Record]]:
    """Return the records of an order, of its decision and of its fills.

    Raises `UnknownNameError` for an order that the journal does not hold.
    """
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
    if not has_journal(settings):
        raise _no_journal(settings)
    return open_journal(settings, SystemClock())


def _no_journal(settings: Settings) -> MissingStateError:
    return MissingStateError(f"no journal at {journal_name(settings)}; `alphaloop trade` starts one")
