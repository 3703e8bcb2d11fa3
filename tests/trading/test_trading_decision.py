"""A decision is a pure function of what is journaled: replayed, it gives the identical orders."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.strategy import StrategyIdentity
from alphaloop.errors import ChainBrokenError
from alphaloop.forecasts import Forecast, Route, SymbolStatus
from alphaloop.journal.record import canonical_json
from alphaloop.orders import Order, Side
from trading.decision import Decision, DecisionInputs, decide
from trading.execution.netting import LOT
from trading.forecasts import SharedForecast
from trading.redecide import redecide_orders
from trading.risk.risk_check import Refusal, RiskLimits
from trading.strategy import recorded_strategy

AS_OF = datetime(2020, 3, 16, 20, tzinfo=UTC)
SYMBOLS = ("A", "B", "C", "D")
SLEEVES = ("s0", "s1", "s2")

quantities = (st.integers(0, 10**8) | st.integers(0, 10**15)).map(lambda n: Decimal(n) * LOT)
prices = st.none() | st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-8))
cash = st.integers(-(10**6), 10**9).map(lambda n: Decimal(n) / 100)
scores = st.floats(allow_nan=True, allow_infinity=False) | st.sampled_from([0.0, 1.0])
shares = st.floats(0.01, 1)


def decided(inputs: DecisionInputs) -> Decision:
    """The decision by the strategy that the inputs name."""
    return decide(inputs, recorded_strategy(inputs.strategy))


def _forecast(values: list[float], age: timedelta) -> Forecast:
    return Forecast(
        prediction_id="p",
        as_of=AS_OF,
        feature_timestamp=AS_OF - age,
        symbols=SYMBOLS,
        scores=tuple(values),
        statuses=(SymbolStatus.OK,) * len(values),
        model="equities",
        version="3",
        digest="d" * 64,
        route=Route.CANARY,
        input_hash="i" * 64,
        feature_set="f" * 64,
        snapshot="s" * 64,
        generation=7,
    )


@st.composite
def states(draw) -> DecisionInputs:
    """Any state of the book: poor, rich, short of prices, told or not told, fresh or stale."""
    answers, told = [], list(SLEEVES)
    for _ in range(draw(st.integers(0, 2))):
        sleeves = told[: draw(st.integers(0, len(told)))]
        told = told[len(sleeves) :]
        age = draw(st.sampled_from([timedelta(0), timedelta(days=1), -timedelta(days=1)]))
        values = draw(st.lists(scores, min_size=4, max_size=4))
        answers.append(SharedForecast(_forecast(values, age), dict.fromkeys(sleeves, "p")))
    reduced = [Refusal("no_forecast", "why", (name,)) for name in told if draw(st.booleans())]
    return DecisionInputs(
        decision_id="trading/x",
        as_of=AS_OF,
        symbols=SYMBOLS,
        prices=tuple(draw(prices) for _ in SYMBOLS),
        blocked=tuple(name for name in SYMBOLS if draw(st.integers(0, 5)) == 0),
        sleeves=SLEEVES,
        cash=tuple(draw(cash) for _ in SLEEVES),
        quantities=tuple(tuple(draw(quantities) for _ in SYMBOLS) for _ in SLEEVES),
        peak=draw(cash),
        answers=tuple(answers),
        reduced=tuple(reduced),
        strategy=StrategyIdentity.of(
            AllocationStrategy(tilt=draw(st.floats(0, 3)), rate=draw(shares), band=draw(st.floats(0, 1)))
        ),
        limits=RiskLimits(max_gross=draw(shares), max_weight=draw(shares), max_drawdown=draw(shares)),
        simulated=draw(st.booleans()),
    )


@given(states())
def test_a_journaled_decision_gives_the_identical_orders(inputs):
    """Through the journal's text and back, any state leads to the same orders, and to the same refusals."""
    body = json.loads(canonical_json(inputs.to_body() | {"equity": "1", "later": "field"}))
    assert redecide_orders(body) == list(decided(inputs).orders)
    again = DecisionInputs.from_body(body)
    assert decided(again) == decided(inputs)
    assert canonical_json(again.to_body()) == canonical_json(inputs.to_body())


@given(states())
def test_orders_are_the_exact_sum_of_the_sleeves(inputs):
    """One order a symbol at most, for exactly what its sleeves want together, on one side."""
    decision = decided(inputs)
    assert len({order.symbol for order in decision.orders}) == len(decision.orders)
    for change in decision.changes:
        net = sum(change.wanted)
        assert (change.order is None) == (net == 0)
        if change.order is not None:
            assert change.order.signed_quantity == net
            assert change.order in decision.orders
    assert len(decision.orders) == sum(change.order is not None for change in decision.changes)


@given(states())
def test_no_sleeve_sells_what_it_has_not_or_trades_what_it_must_not(inputs):
    """Sales are covered by the sleeve's own holding; blocked and unpriced symbols are left alone."""
    decision = decided(inputs)
    reduced = {
        sleeve
        for refusal in decision.refusals
        for sleeve in refusal.sleeves
        if refusal.rule in {"no_forecast", "staleness", "drawdown"}
    }
    for change in decision.changes:
        index = inputs.symbols.index(change.symbol)
        assert change.symbol not in inputs.blocked
        assert inputs.prices[index] is not None
        for sleeve, held, wanted in zip(inputs.sleeves, inputs.quantities, change.wanted, strict=True):
            assert held[index] + wanted >= 0
            assert wanted <= 0 or sleeve not in reduced


@given(states())
def test_a_ruined_sleeve_sells_what_can_be_sold(inputs):
    """A sleeve without equity sells all of what has a price and nothing under way, and buys nothing."""
    # The other sleeves are rich, so the book as a whole has lost nothing and is not reduce-only.
    rich = Decimal(10**19)
    ruined = replace(inputs, cash=(-rich / 10, rich, rich), peak=rich, reduced=())
    sold = {change.symbol: -change.wanted[0] for change in decided(ruined).changes}
    for symbol, price, held in zip(ruined.symbols, ruined.prices, ruined.quantities[0], strict=True):
        tradable = price is not None and symbol not in ruined.blocked
        assert sold.get(symbol, 0) == (max(held, 0) if tradable else 0)


def test_a_fresh_book_is_spent_on_what_has_a_price():
    """From cash the whole capital goes to the priced symbols, the better scored holding more."""
    inputs = DecisionInputs(
        decision_id="d",
        as_of=AS_OF,
        symbols=SYMBOLS,
        prices=(Decimal(10), Decimal(20), None, Decimal(40)),
        blocked=(),
        sleeves=("s0",),
        cash=(Decimal(1000),),
        quantities=((Decimal(0),) * 4,),
        peak=Decimal(1000),
        answers=(SharedForecast(_forecast([1.0, 2.0, 9.0, 3.0], timedelta(0)), {"s0": "p"}),),
        reduced=(),
        strategy=StrategyIdentity.of(AllocationStrategy()),
        limits=RiskLimits(max_weight=1),
        simulated=True,
    )
    orders = decided(inputs).orders
    spent = {order.symbol: order.quantity * price for order, price in zip(orders, (10, 20, 40), strict=True)}
    assert list(spent) == ["A", "B", "D"]
    assert spent["A"] < spent["B"] < spent["D"]
    assert Decimal("999.9") < sum(spent.values()) <= 1000
    assert all(order.side is Side.BUY and order.simulated for order in orders)


@given(states())
def test_ids_come_from_decision_and_symbol(inputs):
    """The same decision gives the same ids, another decision others."""
    first = [order.client_order_id for order in decided(inputs).orders]
    assert first == [order.client_order_id for order in decided(inputs).orders]
    body = inputs.to_body() | {"decision_id": "trading/y"}
    others = [order.client_order_id for order in redecide_orders(json.loads(canonical_json(body)))]
    assert not set(first) & set(others)
    assert len(first) == len(others)


@pytest.mark.parametrize("body", [{}, {"decision_id": 1}, {"symbols": None}])
def test_what_is_no_decision_is_named_as_such(body):
    """A body that cannot be a decision is reported as a broken journal, not as a missing key."""
    with pytest.raises(ChainBrokenError, match="not the body of a decision"):
        redecide_orders(body)


def test_orders_compare_by_value():
    """Identical means identical: another quantity is another order."""
    one = Order("al", "A", Side.BUY, Decimal(1), AS_OF, "d")
    assert one != Order("al", "A", Side.BUY, Decimal("1.0001"), AS_OF, "d")
