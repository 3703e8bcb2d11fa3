"""Journal records of trading: orders, fills and crosses as bodies, and back.

Kinds in a trading stream: `decision` (see `trading.decision`), `order`, `refusal`, `fill`, `cross`,
`corporate_action` (see `trading.execution.corporate_actions`). Lists are in the order of the decision's
sleeves.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from alphaloop.bars import Slice
from alphaloop.orders import Fill, Order
from alphaloop.runtime.stored_values import restore
from trading.execution.netting import Allocation
from trading.execution.sleeves import OpenChange


def order_body(order: Order) -> dict[str, Any]:
    """Return the body of an `order` record."""
    return {
        "client_order_id": order.client_order_id,
        "decision_id": order.decision_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "quantity": str(order.quantity),
        "decided_at": order.decided_at.isoformat(),
        "simulated": order.simulated,
    }


def order_from_body(body: Mapping[str, Any]) -> Order:
    """Restore the order of an `order` record."""
    return restore(Order, body)


def fill_body(fill: Fill, decision_id: str, allocation: Allocation) -> dict[str, Any]:
    """Return the body of a `fill` record: the fill, and `quantities` and `costs` by sleeve."""
    return {
        "client_order_id": fill.client_order_id,
        "decision_id": decision_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "quantity": str(fill.quantity),
        "price": str(fill.price),
        "cost": str(fill.cost),
        "filled_at": fill.filled_at.isoformat(),
        "quantities": list(map(str, allocation.quantities)),
        "costs": list(map(str, allocation.costs)),
    }


def cross_body(change: OpenChange, price: Decimal, bars: Slice) -> dict[str, Any]:
    """Return the body of a `cross` record.

    It holds changes that cancelled out between sleeves, without an order.
    """
    return {
        "decision_id": change.decision_id,
        "symbol": change.symbol,
        "price": str(price),
        "crossed_at": bars.timestamp.isoformat(),
        "quantities": list(map(str, change.wanted)),
    }


def allocation_from_body(body: Mapping[str, Any]) -> Allocation:
    """Restore the allocation to sleeves of a `fill` or `cross` record."""
    quantities = tuple(map(Decimal, body["quantities"]))
    costs = tuple(map(Decimal, body.get("costs", ["0"] * len(quantities))))
    return Allocation(body["symbol"], Decimal(body["price"]), quantities, costs)
