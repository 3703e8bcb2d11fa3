"""Recovery: an engine put back to where its journal says it stood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel, to_datetime64
from alphaloop.decision.returns import last_known
from alphaloop.journal.record import Record
from alphaloop.orders import Order
from trading.carry_over import CARRIED, BookState, fitted, state_of
from trading.decision import DecisionInputs
from trading.engine import BarOutcome, TradingEngine
from trading.execution.corporate_actions import in_new_units
from trading.execution.netting import ZERO, Allocation, subtract
from trading.execution.sleeves import Book, Sleeves, Working
from trading.journal_records import allocation_from, order_from
from trading.redecide import decision_of, rule_of
from trading.risk.risk_check import Refusal


@dataclass
class _Open:
    """A change still waited for: the quantity left of its order, and what its sleeves got so far.

    `wanted` is what the sleeves waited for in new units after a split, and `got` what came since.
    """

    left: Decimal = ZERO
    got: list[Allocation] = field(default_factory=list)
    wanted: tuple[Decimal, ...] | None = None


@dataclass
class _Ledger:
    """What the records say: the last decision and what it led to, and the changes still open."""

    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, Any] | None = None
    orders: list[Order] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    booked: list[Allocation | dict[str, Any]] = field(default_factory=list)
    open: dict[tuple[str, str], _Open] = field(default_factory=dict)
    carried: dict[str, Any] | None = None

    def read(self, record: Record) -> None:
        """Take one record; kinds that are not of trading are passed over."""
        body = record.body
        if record.kind == "decision":
            rule_of(body)  # first: the fields of a newer rule may not be known here
            self.last, self.orders, self.refusals, self.booked, self.carried = body, [], [], [], None
            self.decisions[body["decision_id"]] = body
            self.open.update({(body["decision_id"], symbol): _Open() for symbol in body["crossing"]})
        elif record.kind == "order":
            self.orders.append(order_from(body))
            self.open[body["decision_id"], body["symbol"]] = _Open(Decimal(body["quantity"]))
        elif record.kind == "refusal":
            self.refusals.append(Refusal.from_body(body))
        elif record.kind in {"fill", "cross"}:
            self._settle(body)
        elif record.kind == "corporate_action":
            self._convert(body)
        elif record.kind == CARRIED:
            self.carried, self.booked = body, []
            self.open.clear()

    def _settle(self, body: dict[str, Any]) -> None:
        key, allocation = (body["decision_id"], body["symbol"]), allocation_from(body)
        self.booked.append(allocation)
        self.open[key].got.append(allocation)
        self.open[key].left -= Decimal(body.get("quantity", 0))
        if not self.open[key].left:
            del self.open[key]

    def _convert(self, body: dict[str, Any]) -> None:
        """Take a corporate action: what is open of its symbol is what the record says, in new units."""
        self.booked.append(body)
        left = {one["decision_id"]: tuple(map(Decimal, one["wanted"])) for one in body["open"]}
        for key in [key for key in self.open if key[1] == body["symbol"]]:
            wanted = left.get(key[0])
            if wanted is None:
                del self.open[key]
            else:
                self.open[key] = _Open(abs(sum(wanted, ZERO)), wanted=wanted)


def restore(engine: TradingEngine, records: Iterable[Record], past: BarPanel | None = None) -> list[Order]:
    """Give `engine` the books and open orders that `records` of its stream end with, and resubmit these.

    The engine may trade further symbols, and do without some that are neither held nor waited for. Returns
    the orders sent again; the broker ignores those that it has. Raises `InputError` as `recover` does, and
    where the journal holds other symbols or sleeves, with the command that carries its book over.
    """
    found = recover(records, past)
    if found is None:
        return []
    state = fitted(found, engine.symbols, engine.portfolio.names)
    engine.portfolio, engine.adjustments = state.portfolio, state.adjustments
    engine.prices, engine.peak, engine.last = state.prices, state.peak, state.last
    engine.providers = state.providers
    return engine.resubmit()


def recover(records: Iterable[Record], past: BarPanel | None = None) -> BookState | None:
    """The book that `records` of a stream end with; None where nothing was decided.

    `past` are bars up to the last decision, with the adjustment factors that the next bars go on from.
    Raises `InputError` for a decision of a newer version's rule.
    """
    ledger = _Ledger()
    for record in records:
        ledger.read(record)
    if ledger.last is None:
        return None
    inputs = DecisionInputs.from_body(ledger.last)
    last = BarOutcome(
        as_of=inputs.as_of,
        equity=Decimal(ledger.last["equity"]),
        orders=tuple(ledger.orders),
        fills=(),
        forecasts={name: one for answer in inputs.answers for name, one in answer.by_sleeve().items()},
        refusals=tuple(ledger.refusals),
        decision_id=inputs.decision_id,
    )
    adjustments = _adjustments(ledger.last, inputs, past)
    books, prices = _sleeves(ledger.last, inputs), list(inputs.prices)
    state = BookState(books, prices, adjustments, inputs.peak, last, inputs.providers)
    if ledger.carried is not None:
        state = state_of(ledger.carried)
    for booked in ledger.booked:
        _book(state, booked)
    _expect_open(state.portfolio, ledger)
    return state


def _sleeves(body: dict[str, Any], inputs: DecisionInputs) -> Sleeves:
    rows = zip(inputs.sleeves, inputs.cash, inputs.quantities, body["costs"], body["traded"], strict=True)
    books = [
        Book(name, cash, list(held), Decimal(cost), Decimal(traded))
        for name, cash, held, cost, traded in rows
    ]
    return Sleeves(inputs.symbols, books)


def _adjustments(body: dict[str, Any], inputs: DecisionInputs, past: BarPanel | None) -> list[float | None]:
    """The adjustment factor at which the books of a decision stand, by symbol; None where nobody knows.

    Only ratios of factors mean anything, and a history that was fetched anew may begin at another level: so
    the level is that of `past` at the decision's bar, where it has this bar and the books had followed it.
    """
    journaled: list[float | None] = body.get("adjustments") or [None] * len(inputs.symbols)
    seen = past.between(end=inputs.as_of) if past is not None else None
    if seen is None or not len(seen) or seen.timestamps[-1] != to_datetime64(inputs.as_of):
        return journaled
    levels = dict(zip(seen.symbols, last_known(seen.adjustment)[-1].tolist(), strict=True))
    followed = [symbol not in inputs.disputed for symbol in inputs.symbols]
    return [
        levels[symbol] if follows and np.isfinite(levels.get(symbol, np.nan)) else known
        for symbol, follows, known in zip(inputs.symbols, followed, journaled, strict=True)
    ]


def _book(state: BookState, booked: Allocation | dict[str, Any]) -> None:
    if isinstance(booked, Allocation):
        state.portfolio.book(booked)
        return
    index = state.portfolio.symbols.index(booked["symbol"])
    state.adjustments[index] = booked["adjustment"]
    rows = zip(state.portfolio.books, booked["quantities"], booked["cash"], strict=True)
    for book, quantity, paid in rows:
        book.entitle(index, Decimal(quantity), Decimal(paid))


def _expect_open(portfolio: Sleeves, ledger: _Ledger) -> None:
    """Wait again for what no fill or cross has completed. A decision is only redone if it left something."""
    for decision_id in dict.fromkeys(decision_id for decision_id, _ in ledger.open):
        for change in decision_of(ledger.decisions[decision_id]).changes:
            waiting = ledger.open.get((decision_id, change.symbol))
            if waiting is not None:
                left = change if waiting.wanted is None else in_new_units(change, waiting.wanted)
                _expect(portfolio, left, waiting.got)


def _expect(portfolio: Sleeves, change: Working | None, got: Iterable[Allocation]) -> None:
    if change is None:
        return
    for allocation in got:
        change.wanted = subtract(change.wanted, allocation.quantities)
    portfolio.expect(change)
