"""The paper broker, which simulates fills and keeps its own account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from alphaloop.bars import Slice
from alphaloop.costs import CostModel
from alphaloop.decision.obtainable_price import booked_price, obtainable_prices
from alphaloop.errors import VendorError
from alphaloop.orders import Fill, Order
from trading.execution.corporate_actions import BookedCorporateAction
from trading.execution.instrument_terms import NO_TERMS, InstrumentTerms


class PaperBroker:
    """A simulated broker that fills whole orders at the next obtainable price.

    That is the next bar's open, else its close. An order without a price, or with a disputed one, stays open.
    `cash` (the sum of the account's payments) and `positions` are kept separate from the engine's books, so
    that the two can be reconciled.

    Parameters
    ----------
    costs : CostModel
        Costs of each fill.
    terms : InstrumentTerms
        Lots and ticks: an order of a fraction of a lot is refused, and a price is rounded to the tick against
        the order.
    """

    def __init__(self, costs: CostModel, terms: InstrumentTerms = NO_TERMS) -> None:
        self.cash = Decimal(0)
        self.positions: dict[str, Decimal] = defaultdict(Decimal)
        self._costs, self._terms = costs, terms
        self._known: set[str] = set()
        self._open: dict[str, Order] = {}

    def submit(self, orders: Sequence[Order]) -> None:
        """Take `orders`; a known id is ignored. Raises `VendorError` for a fraction of a lot."""
        for order in orders:
            lot = self._terms.lot(order.symbol, order.decided_at)
            if self._terms.reference is not None and order.quantity % lot:
                raise VendorError(
                    f"the paper broker refuses order {order.client_order_id}: {order.quantity} of "
                    f"{order.symbol} is no multiple of its lot, {lot}; orders are rounded to the lot"
                )
            if order.client_order_id not in self._known:
                self._known.add(order.client_order_id)
                self._open[order.client_order_id] = order

    def apply_action(self, action: BookedCorporateAction) -> None:
        """Book the corporate action as the engine does, and replace the symbol's open orders."""
        held = self.positions.get(action.symbol)
        if held:
            self.positions[action.symbol] = held + action.gained_units
            self.cash += sum(action.cash, Decimal(0))
        open_ids = [name for name, order in self._open.items() if order.symbol == action.symbol]
        left = {order.client_order_id: order for order in action.orders}
        for name in open_ids:
            if name in left:
                self._open[name] = left[name]
            else:
                del self._open[name]

    def on_bar(self, bars: Slice) -> list[Fill]:
        """Fill the orders that were decided before this bar and have a price in it."""
        if not self._open:
            return []
        prices = dict(zip(bars.symbols, obtainable_prices(bars).tolist(), strict=True))
        fills = []
        for order in list(self._open.values()):
            price = prices.get(order.symbol, np.nan)
            believed = np.isfinite(price) and order.symbol not in bars.disputed
            if order.decided_at < bars.timestamp and believed:
                on_tick = self._terms.on_tick(booked_price(price), order.symbol, order.side, bars.timestamp)
                fills.append(self._fill(order, on_tick, bars))
        return fills

    def _fill(self, order: Order, price: Decimal, bars: Slice) -> Fill:
        notional = order.signed_quantity * price
        cost = self._costs.of_notional(notional)
        del self._open[order.client_order_id]
        self.cash -= notional + cost
        self.positions[order.symbol] += order.signed_quantity
        return Fill(
            client_order_id=order.client_order_id,
            symbol=order.symbol,
            side=order.side,
            quantity=order.quantity,
            price=price,
            cost=cost,
            filled_at=bars.timestamp,
        )


BROKER = PaperBroker
