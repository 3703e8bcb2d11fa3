"""Recovery: restore an engine to the state at the end of its journal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel, to_datetime64
from alphaloop.decision.returns import fill_forward
from alphaloop.journal.record import Record
from alphaloop.orders import Order
from trading.carry_over import CARRIED_KIND, BookState, book_state_from_body, fit_to_symbols
from trading.decision import DecisionInputs
from trading.engine import BarOutcome, TradingEngine
from trading.execution.corporate_actions import with_quantities
from trading.execution.netting import ZERO, Allocation, subtract_quantities
from trading.execution.sleeves import OpenChange, SleeveBook, Sleeves
from trading.journal_records import allocation_from_body, order_from_body
from trading.redecide import redecide_decision, rule_number
from trading.risk.risk_check import Refusal


@dataclass
class _Open:
    """An open change: its order and what remains of it, and its allocations so far.

    `wanted` is the remainder in new units after a split, and `got` the allocations since then.
    """

    order: Order | None = None
    left: Decimal = ZERO
    got: list[Allocation] = field(default_factory=list)
    wanted: tuple[Decimal, ...] | None = None


@dataclass
class _Ledger:
    """The state of the records: the last decision and its effects, and the open changes."""

    decisions: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: dict[str, Any] | None = None
    orders: list[Order] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    booked: list[Allocation | dict[str, Any]] = field(default_factory=list)
    open: dict[tuple[str, str], _Open] = field(default_factory=dict)
    carried: dict[str, Any] | None = None

    def read(self, record: Record) -> None:
        """Apply one record; kinds that do not belong to trading are skipped."""
        body = record.body
        if record.kind == "decision":
            rule_number(body)  # first, because the fields of a newer rule may be unknown here
            self.last, self.orders, self.refusals, self.booked, self.carried = body, [], [], [], None
            self.decisions[body["decision_id"]] = body
            self.open.update({(body["decision_id"], symbol): _Open() for symbol in body["crossing"]})
        elif record.kind == "order":
            order = order_from_body(body)
            self.orders.append(order)
            self.open[body["decision_id"], body["symbol"]] = _Open(order, order.quantity)
        elif record.kind == "refusal":
            self.refusals.append(Refusal.from_body(body))
        elif record.kind in {"fill", "cross"}:
            self._settle(body)
        elif record.kind == "corporate_action":
            self._convert(body)
        elif record.kind == CARRIED_KIND:
            self.carried, self.booked = body, []
            self.open.clear()

    def _settle(self, body: dict[str, Any]) -> None:
        key, allocation = (body["decision_id"], body["symbol"]), allocation_from_body(body)
        self.booked.append(allocation)
        self.open[key].got.append(allocation)
        self.open[key].left -= Decimal(body.get("quantity", 0))
        if not self.open[key].left:
            del self.open[key]

    def _convert(self, body: dict[str, Any]) -> None:
        """Apply a corporate action to the symbol's open changes.

        The record lists the open changes in new units.
        """
        self.booked.append(body)
        left = {one["decision_id"]: tuple(map(Decimal, one["wanted"])) for one in body["open"]}
        for key in [key for key in self.open if key[1] == body["symbol"]]:
            wanted = left.get(key[0])
            if wanted is None:
                del self.open[key]
            else:
                self.open[key] = _Open(self.open[key].order, abs(sum(wanted, ZERO)), wanted=wanted)


def restore_engine(
    engine: TradingEngine, records: Iterable[Record], past: BarPanel | None = None
) -> list[Order]:
    """Restore books and open orders from the journal, and send the open orders again.

    The engine may trade further symbols, and leave out symbols that are neither held nor ordered.

    Parameters
    ----------
    engine : TradingEngine
        A new engine; its state is replaced.
    records : iterable of Record
        All records of the engine's stream.
    past : BarPanel, optional
        Bars up to the last decision, with the adjustment factors that the next bars continue.

    Returns
    -------
    list of Order
        The orders sent again; the broker ignores those that it has.

    Raises
    ------
    InputError
        For a decision of a newer version's rule, and where the journal's book has other symbols or sleeves;
        the message names the command that carries the book over.
    """
    recovered = recover_book(records, past)
    if recovered is None:
        return []
    state = fit_to_symbols(recovered, engine.symbols, engine.portfolio.names)
    engine.portfolio, engine.adjustments = state.portfolio, state.adjustments
    engine.prices, engine.peak, engine.last = state.prices, state.peak, state.last
    engine.providers = state.providers
    return engine.resubmit()


def recover_book(records: Iterable[Record], past: BarPanel | None = None) -> BookState | None:
    """Rebuild the book from `records` of a stream; None where nothing was decided.

    `past` are bars up to the last decision, with the adjustment factors that the next bars continue. Raises
    `InputError` for a decision of a newer version's rule.
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
        state = book_state_from_body(ledger.carried)
    for booked in ledger.booked:
        _book(state, booked)
    _expect_open(state.portfolio, ledger)
    return state


def _sleeves(body: dict[str, Any], inputs: DecisionInputs) -> Sleeves:
    rows = zip(inputs.sleeves, inputs.cash, inputs.quantities, body["costs"], body["traded"], strict=True)
    books = [
        SleeveBook(name, cash, list(held), Decimal(cost), Decimal(traded))
        for name, cash, held, cost, traded in rows
    ]
    return Sleeves(inputs.symbols, books)


def _adjustments(body: dict[str, Any], inputs: DecisionInputs, past: BarPanel | None) -> list[float | None]:
    """Return the adjustment factor that the books of a decision are based on, by symbol.

    Only ratios of factors have a meaning, and a history that was downloaded again may begin at another level.
    So the level is that of `past` at the decision's bar, if it has this bar and the books had applied it. The
    factor is None where it is not known.
    """
    journaled: list[float | None] = body.get("adjustments") or [None] * len(inputs.symbols)
    seen = past.between(end=inputs.as_of) if past is not None else None
    if seen is None or not len(seen) or seen.timestamps[-1] != to_datetime64(inputs.as_of):
        return journaled
    levels = dict(zip(seen.symbols, fill_forward(seen.adjustment)[-1].tolist(), strict=True))
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
    """Restore the changes that no fill or cross has completed."""
    for decision_id in dict.fromkeys(decision_id for decision_id, _ in ledger.open):
        for change in _changes(ledger, ledger.decisions[decision_id]):
            waiting = ledger.open.get((decision_id, change.symbol))
            if waiting is not None:
                left = change if waiting.wanted is None else with_quantities(change, waiting.wanted)
                _expect(portfolio, left, waiting.got)


def _changes(ledger: _Ledger, body: dict[str, Any]) -> Sequence[OpenChange]:
    """Return the changes of a decision.

    They are in its body, because the code of its strategy may have been edited since then. A body of rule 2
    or 1 does not have them, so that it is decided again.
    """
    if "changes" not in body:
        return redecide_decision(body).changes
    decision_id = body["decision_id"]
    return [
        OpenChange(decision_id, symbol, tuple(map(Decimal, wanted)), ledger.open[decision_id, symbol].order)
        for symbol, wanted in body["changes"].items()
        if (decision_id, symbol) in ledger.open
    ]


def _expect(portfolio: Sleeves, change: OpenChange | None, got: Iterable[Allocation]) -> None:
    if change is None:
        return
    for allocation in got:
        change.wanted = subtract_quantities(change.wanted, allocation.quantities)
    portfolio.expect(change)
