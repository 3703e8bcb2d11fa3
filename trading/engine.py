"""The trading engine, which processes one bar after the other.

Backtest, paper and live trading use the same engine. Each bar: book the broker's fills, request forecasts,
decide, journal the decision and its orders, and only then send them. Only journaled decisions are executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.bars import Slice
from alphaloop.clock import Clock
from alphaloop.costs import CostModel
from alphaloop.decision.entitlements import MIN_FACTOR_STEP, infer_entitlements, is_split_confirmed
from alphaloop.decision.obtainable_price import booked_price, obtainable_prices
from alphaloop.decision.strategy import Strategy, StrategyIdentity
from alphaloop.errors import InputError
from alphaloop.forecasts import Forecast
from alphaloop.orders import Fill, Order
from alphaloop.universe_mask import outside_universe
from trading.broker import Broker
from trading.decision import Decision, DecisionInputs, decide
from trading.execution.corporate_actions import (
    BookedCorporateAction,
    book_corporate_action,
    entitle_sleeves,
    is_affected,
)
from trading.execution.instrument_terms import NO_TERMS, InstrumentTerms
from trading.execution.sleeves import OpenChange, Sleeves
from trading.forecaster import Forecaster
from trading.forecasts import group_forecasts, request_forecasts
from trading.journal_records import cross_body, fill_body, order_body
from trading.risk.risk_check import Refusal, RiskCheck


class JournalAppender(Protocol):
    """The part of a journal's `StreamWriter` that the engine uses."""

    stream: str

    def append_many(self, batch: Sequence[tuple[str, Mapping[str, Any]]]) -> Sequence[object]:
        """Append all records or none."""
        ...


@dataclass(frozen=True, slots=True)
class BarOutcome:
    """The result of one bar.

    Parameters
    ----------
    as_of : datetime
        Close of the bar.
    equity : Decimal
        Equity of all sleeves, in the currency of the prices.
    orders : tuple of Order
        Orders decided at this bar.
    fills : tuple of Fill
        Fills of earlier orders.
    forecasts : dict of str to Forecast
        Forecast of each sleeve.
    refusals : tuple of Refusal
        Refusals by the risk check.
    decision_id : str
        Identifier of the decision.
    actions : tuple of BookedCorporateAction
        Corporate actions that were booked.
    """

    as_of: datetime
    equity: Decimal
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    forecasts: dict[str, Forecast]
    refusals: tuple[Refusal, ...]
    decision_id: str
    actions: tuple[BookedCorporateAction, ...] = ()


class TradingEngine:
    """An engine that trades symbols with capital in sleeves, bar by bar.

    The id of a decision is derived from the journal's stream and the bar, so that a bar decided again sends
    no new orders.

    Parameters
    ----------
    symbols : tuple of str
        Symbols to trade.
    broker : Broker
        Venue for orders.
    forecaster : Forecaster
        Source of forecasts.
    strategy : Strategy
        Strategy from scores to weights; with a journal, one whose code is in a file.
    risk : RiskCheck
        Risk limits.
    costs : CostModel
        Costs, for the journal.
    sleeves : sequence of str
        Names of the capital sleeves.
    capital : Decimal or int
        Initial capital, in the currency of the prices.
    clock : Clock
        Source of the time, by which the age of bars is checked.
    journal_writer : JournalAppender or None
        Writer of the journal's stream; None in a backtest.
    simulated : bool
        Mark of orders that are priced on adjusted data.
    terms : InstrumentTerms
        Lots of the instruments.

    Raises
    ------
    InputError
        With a journal, for a strategy that it cannot name: code in no file, or a parameter that is no JSON
        value.
    """

    def __init__(
        self,
        symbols: tuple[str, ...],
        broker: Broker,
        forecaster: Forecaster,
        strategy: Strategy,
        risk: RiskCheck,
        costs: CostModel,
        *,
        sleeves: Sequence[str],
        capital: Decimal | int,
        clock: Clock,
        journal_writer: JournalAppender | None,
        simulated: bool,
        terms: InstrumentTerms = NO_TERMS,
    ) -> None:
        self.symbols = symbols
        self.portfolio = Sleeves.funded(symbols, sleeves, Decimal(capital))
        self.peak = Decimal(capital)
        self.prices: list[Decimal | None] = [None] * len(symbols)
        self.adjustments: list[float | None] = [None] * len(symbols)
        self.providers: tuple[str, ...] = ()
        self.last: BarOutcome | None = None
        self._broker, self._forecaster = broker, forecaster
        self._strategy, self._costs = strategy, costs
        self._named = _journalable(strategy) if journal_writer else StrategyIdentity(strategy.name, {})
        self._risk = replace(risk, limits=risk.limits.for_names(len(symbols)))
        self._clock, self._writer, self._simulated = clock, journal_writer, simulated
        self._terms = terms
        self._stream = journal_writer.stream if journal_writer else "unjournaled"
        self._unbooked: list[Fill] = []

    def on_bar(self, bars: Slice) -> BarOutcome:
        """Trade on `bars`, which have just closed.

        A bar that is older than the limits allow was missed: its fills and actions are booked and journaled,
        with a decision that orders nothing. The last decided bar may be given again: its orders are sent
        again, under the same ids, and its outcome is returned.

        Parameters
        ----------
        bars : Slice
            Bars of the engine's symbols.

        Returns
        -------
        BarOutcome
            Fills, forecasts, orders and refusals.

        Raises
        ------
        InputError
            For a bar before the last one, or for other symbols.
        LeaseLostError
            If another engine took over the stream; nothing is sent then.
        VendorError
            For a fill that belongs to no open order, or if the journal fails.
        """
        if bars.symbols != self.symbols:
            raise InputError(f"the engine trades {self.symbols}; the bars are of {bars.symbols}")
        if self.last is not None and bars.timestamp <= self.last.as_of:
            return self._again(bars)
        actions = self._follow(bars)
        fills = self._settle(bars)
        self._mark(bars)
        missed = self._risk.missed(self._clock.now() - bars.timestamp, self.portfolio.names)
        forecasts, refusals = ({}, missed) if missed else self._ask(bars)
        inputs = self._inputs(bars, forecasts, refusals, missed=bool(missed))
        decision = decide(inputs, self._strategy)
        equity = self.portfolio.equity(self.prices)
        self._journal(inputs, decision, equity)
        for change in decision.changes:
            self.portfolio.expect(change)
        self.last = BarOutcome(
            as_of=bars.timestamp,
            equity=equity,
            orders=decision.orders,
            fills=tuple(fills),
            forecasts=forecasts,
            refusals=decision.refusals,
            decision_id=inputs.decision_id,
            actions=tuple(actions),
        )
        self._broker.submit(decision.orders)
        return self.last

    def resubmit(self) -> list[Order]:
        """Send every open order again, under its own id.

        The broker ignores those that it has.
        """
        orders = [one.order for one in self.portfolio.working.values() if one.order is not None]
        self._broker.submit(orders)
        return orders

    def _again(self, bars: Slice) -> BarOutcome:
        last = self.last
        if last is None or bars.timestamp != last.as_of:
            decided = last.as_of.isoformat() if last else "nothing"
            raise InputError(f"the bar of {bars.timestamp.isoformat()} is before the last decided, {decided}")
        self.resubmit()
        return last

    def _follow(self, bars: Slice) -> list[BookedCorporateAction]:
        """Journal and book the corporate actions since the last bar, before fills and marks.

        The units of a symbol are based on the adjustment factor that was seen last. The factor of a disputed
        bar is not used; the next undisputed bar brings the action.
        """
        trusted = np.isfinite(bars.close)
        if bars.disputed:
            trusted &= ~np.isin(self.symbols, bars.disputed)
        factors = np.where(trusted, bars.adjustment, np.nan)
        known = _floats(self.adjustments)
        if not (np.isfinite(factors) & (factors != known)).any():
            return []
        due = infer_entitlements(self.symbols, known, factors, _floats(self.prices))
        booked_actions = [
            entitle_sleeves(
                *(self.portfolio, one, price, float(factors[index]), bars.timestamp),
                self._terms.lot(one.symbol, bars.timestamp),
            )
            for index, one in due
            if (price := self.prices[index]) is not None
            and is_affected(self.portfolio, one.symbol)
            and (self._same_provider(index, bars) or is_split_confirmed(one, float(price), bars.close[index]))
        ]
        if self._writer is not None and booked_actions:
            self._writer.append_many([("corporate_action", one.to_body()) for one in booked_actions])
        for one in booked_actions:
            book_corporate_action(self.portfolio, one)
        self._know(factors.tolist())
        for one in booked_actions:
            self._broker.apply_action(one)
        return booked_actions

    def _same_provider(self, index: int, bars: Slice) -> bool:
        """Test whether the symbol's bar is from the same provider as its previous bar.

        The factors of another provider have another level.
        """
        before, now = self.providers, bars.providers
        return not before or not now or before[index] in ("", now[index])

    def _know(self, factors: Sequence[float]) -> None:
        for index, factor in enumerate(factors):
            known = self.adjustments[index]
            # A step too small to be an action does not replace the factor, so that small steps add up.
            if np.isfinite(factor) and (known is None or abs(factor / known - 1.0) >= MIN_FACTOR_STEP):
                self.adjustments[index] = factor

    def _settle(self, bars: Slice) -> list[Fill]:
        """Journal and book the fills of earlier orders, and changes that cross between sleeves."""
        # Kept until booked, because a broker reports a fill once and the journal may fail in between.
        self._unbooked += self._broker.on_bar(bars)
        fills = self._unbooked
        allocations = self.portfolio.allocate(fills)
        crosses = self._crosses(bars)
        if self._writer is not None and (fills or crosses):
            batch: list[tuple[str, Mapping[str, Any]]] = []
            for fill, allocation in zip(fills, allocations, strict=True):
                decision_id = self.portfolio.working[fill.client_order_id].decision_id
                batch.append(("fill", fill_body(fill, decision_id, allocation)))
            batch += [("cross", cross_body(change, price, bars)) for change, price in crosses]
            self._writer.append_many(batch)
        for fill, allocation in zip(fills, allocations, strict=True):
            self.portfolio.book_fill(fill, allocation)
        for change, price in crosses:
            self.portfolio.book_cross(change, price)
        self._unbooked = []
        return fills

    def _crosses(self, bars: Slice) -> list[tuple[OpenChange, Decimal]]:
        if not self.portfolio.crossing:
            return []
        prices = dict(zip(bars.symbols, obtainable_prices(bars).tolist(), strict=True))
        return [
            (change, booked_price(prices[change.symbol]))
            for change in self.portfolio.crossing
            if np.isfinite(prices[change.symbol]) and change.symbol not in bars.disputed
        ]

    def _mark(self, bars: Slice) -> None:
        known = self.providers or ("",) * len(self.symbols)
        self.providers = tuple(now or was for now, was in zip(bars.providers or known, known, strict=True))
        disputed = set(bars.disputed)
        for index, price in enumerate(bars.close.tolist()):
            # A disputed price marks no book, because a wrong price would set the peak for good.
            if np.isfinite(price) and self.symbols[index] not in disputed:
                self.prices[index] = booked_price(price)
        self.peak = max(self.peak, self.portfolio.equity(self.prices))

    def _ask(self, bars: Slice) -> tuple[dict[str, Forecast], list[Refusal]]:
        limits, names = self._risk.limits, self.portfolio.names
        forecasts, refusals = request_forecasts(
            self._forecaster, self.symbols, bars.timestamp, names, limits.prediction_deadline_ms
        )
        return forecasts, refusals + self._risk.clock_skew(self._clock.now() - bars.timestamp, names)

    def _inputs(
        self,
        bars: Slice,
        forecasts: Mapping[str, Forecast],
        refusals: Sequence[Refusal],
        *,
        missed: bool,
    ) -> DecisionInputs:
        books, waiting = self.portfolio.books, self.portfolio.waiting
        closed = np.isfinite(bars.close).tolist()
        return DecisionInputs(
            decision_id=f"{self._stream}/{bars.timestamp.isoformat()}",
            as_of=bars.timestamp,
            symbols=self.symbols,
            prices=tuple(self.prices),
            blocked=tuple(
                symbol
                for symbol, has_price in zip(self.symbols, closed, strict=True)
                if missed or not has_price or symbol in waiting
            ),
            sleeves=self.portfolio.names,
            cash=tuple(book.cash for book in books),
            quantities=tuple(tuple(book.quantities) for book in books),
            peak=self.peak,
            answers=group_forecasts(forecasts),
            reduced=tuple(refusals),
            strategy=self._named,
            limits=self._risk.limits,
            simulated=self._simulated,
            providers=bars.providers,
            disputed=bars.disputed,
            outside=self._outside(bars),
            lots=self._terms.lots(self.symbols, bars.timestamp),
        )

    def _outside(self, bars: Slice) -> tuple[str, ...]:
        """Return the symbols that are not members of the universe at this bar."""
        outside = outside_universe(bars)
        if outside is None:
            return ()
        return tuple(symbol for symbol, flag in zip(self.symbols, outside.tolist(), strict=True) if flag)

    def _journal(self, inputs: DecisionInputs, decision: Decision, equity: Decimal) -> None:
        if self._writer is None:
            return
        books = self.portfolio.books
        body = inputs.to_body() | {
            "equity": str(equity),
            "equities": [str(book.equity(self.prices)) for book in books],
            "costs": [str(book.costs) for book in books],
            "traded": [str(book.traded) for book in books],
            "changes": {change.symbol: list(map(str, change.wanted)) for change in decision.changes},
            "crossing": [change.symbol for change in decision.changes if change.order is None],
            "adjustments": list(self.adjustments),
            "cost_bps": [self._costs.commission_bps, self._costs.half_spread_bps],
        }
        decided = {"decision_id": inputs.decision_id, "as_of": inputs.as_of.isoformat()}
        refusals = [("refusal", refusal.to_body() | decided) for refusal in decision.refusals]
        orders = [("order", order_body(order)) for order in decision.orders]
        self._writer.append_many([("decision", body), *refusals, *orders])


def _journalable(strategy: Strategy) -> StrategyIdentity:
    """Return the identity of `strategy`; raise `InputError` where a journal could not name its code."""
    identity = StrategyIdentity.of(strategy)
    if not identity.digest:
        raise InputError(
            f"the strategy '{strategy.name}' is in no file, so that no journal can name its code; put its "
            "class into a file of its own"
        )
    return identity


def _floats(values: Sequence[Decimal | float | None]) -> npt.NDArray[np.float64]:
    return np.array([np.nan if one is None else float(one) for one in values])
