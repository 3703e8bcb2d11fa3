"""Disputed bars: nobody buys on a price that nobody can vouch for, and the journal says why."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, Slice
from alphaloop.costs import CostModel
from alphaloop.decision.obtainable_price import booked_price
from alphaloop.journal.record import canonical_json
from alphaloop.journal.verification import verify_journal
from alphaloop.orders import Order, Side
from trading.brokers.paper import PaperBroker
from trading.decision import DecisionInputs, decide
from trading.redecide import redecide_orders
from trading.risk.risk_check import RiskCheck, RiskLimits

WEIGHTS = st.lists(st.floats(0, 1), min_size=6, max_size=6).map(lambda row: np.array(row).reshape(2, 3))


def _told(bars: BarPanel, disputed: dict[int, tuple[str, ...]]) -> BarPanel:
    """The same bars, each with its provider, and `disputed` by the index of the bar."""
    providers = np.full(bars.close.shape, "first", dtype=object)
    providers[1::2, 0] = "second"
    marks = np.zeros(bars.close.shape, dtype=bool)
    for index, symbols in disputed.items():
        marks[index] = [symbol in symbols for symbol in bars.symbols]
    return replace(bars, providers=providers, disputed=marks)


def _buys(orders: tuple[Order, ...], symbol: str) -> list[Order]:
    return [order for order in orders if order.symbol == symbol and order.side is Side.BUY]


def test_a_disputed_symbol_is_not_bought_and_the_others_are(make_bars, make_rig):
    """While its bars are disputed a symbol gets no purchase; the rest of the book trades on."""
    bars = make_bars()
    marked = make_rig(_told(bars, dict.fromkeys(range(10), ("S01",))))
    outcomes = marked.run(0, 20)
    assert not any(_buys(outcome.orders, "S01") for outcome in outcomes[:10])
    assert {order.symbol for order in outcomes[0].orders} == {"S00", "S02", "S03", "S04"}
    assert any(_buys(outcome.orders, "S01") for outcome in outcomes[10:])


def test_a_disputed_symbol_may_still_be_sold(make_bars, make_rig, divided):
    """Reduce-only lets sales pass: a holding above its cap is sold down while the bar is disputed."""
    bars, scores = make_bars(), np.random.default_rng(3).normal(size=(40, 5))
    # Nothing is asked for at the bar before, so no order is under way.
    scores[4] = np.nan
    told = _told(bars, {5: ("S00", "S01", "S02", "S03", "S04")})
    rig = make_rig(told, forecaster=divided(bars, scores=scores))
    rig.run(0, 5)
    rig.engine._risk = RiskCheck(RiskLimits(max_weight=0.05))
    (outcome,) = rig.run(5, 6)
    assert [(order.symbol, order.side) for order in outcome.orders] == [
        (symbol, Side.SELL) for symbol in bars.symbols
    ]


def test_the_journal_tells_providers_and_disputes_and_replays_them(make_bars, make_rig):
    """Each decision names every bar's provider, a disputed one its refusal, and both replay."""
    bars = _told(make_bars(), {3: ("S02",), 4: ("S02", "S00")})
    rig = make_rig(bars)
    outcomes = rig.run(0, 8)
    for index, (record, outcome) in enumerate(zip(rig.records("decision"), outcomes, strict=True)):
        assert record.body["providers"] == list(bars.at(index).providers)
        assert redecide_orders(record.body) == list(outcome.orders)
        assert DecisionInputs.from_body(record.body).disputed == bars.at(index).disputed
    assert rig.records("decision")[4].body["disputed"] == ["S00", "S02"]
    refused = [record.body for record in rig.records("refusal") if record.body["rule"] == "disputed"]
    assert [(one["symbol"], one["as_of"]) for one in refused] == [
        ("S02", outcomes[3].as_of.isoformat()),
        ("S00", outcomes[4].as_of.isoformat()),
        ("S02", outcomes[4].as_of.isoformat()),
    ]
    assert all(one["sleeves"] == list(rig.engine.portfolio.names) for one in refused)
    assert all(
        report.ok for report in verify_journal(rig.folder / "journal.db", rig.folder / "anchors.jsonl")
    )


def test_a_replay_without_the_mark_would_buy(make_bars, make_rig, divided):
    """The mark in the journal is what the orders depend on: struck out, the decision would differ."""
    bars, scores = make_bars(), np.random.default_rng(3).normal(size=(40, 5))
    scores[4] = np.nan
    told = _told(bars, {5: bars.symbols})
    rig = make_rig(told, forecaster=divided(bars, challengers=0, scores=scores))
    outcome = rig.run(0, 6)[-1]
    body = dict(rig.records("decision")[-1].body)
    assert redecide_orders(body) == list(outcome.orders)
    assert {order.side for order in outcome.orders} == {Side.SELL}
    del body["disputed"]
    assert {order.side for order in redecide_orders(body)} == {Side.SELL, Side.BUY}


def test_without_providers_nothing_changes_in_the_journal(make_bars, make_rig):
    """Bars without providers leave the journal without the new keys; with one they are added."""
    bars = make_bars()
    plain, named = make_rig(bars, name="plain"), make_rig(_told(bars, {}), name="named")
    assert plain.run(0, 12) == named.run(0, 12)
    for one, other in zip(plain.records(), named.records(), strict=True):
        assert not {"providers", "disputed"} & one.body.keys()
        same = {name: value for name, value in other.body.items() if name != "providers"}
        assert canonical_json(one.body) == canonical_json(same)


def test_a_garbled_price_marks_no_book(make_bars, make_rig):
    """A disputed price a thousand times too high raises neither equity nor peak, so no drawdown follows."""
    bars = make_bars()
    calm = make_rig(bars, name="calm").run(0, 12)
    bars.close[6, 1] *= 1000.0
    rig = make_rig(_told(bars, {6: ("S01",)}), name="garbled")
    outcomes = rig.run(0, 12)
    assert float(rig.engine.peak) < 1.2e6
    assert abs(outcomes[6].equity / calm[6].equity - 1) < Decimal("0.02")
    assert not any(refusal.rule == "drawdown" for one in outcomes for refusal in one.refusals)
    assert Decimal(rig.records("decision")[6].body["prices"][1]) == booked_price(bars.close[5, 1])


def test_no_fill_and_no_cross_is_priced_by_a_disputed_bar(make_bars, make_rig, divided):
    """The paper broker's orders and the crosses between sleeves wait for a bar that is believed."""
    bars = make_bars()
    rig = make_rig(_told(bars, {1: ("S01",), 2: ("S01",)}))
    fills = [{fill.symbol for fill in outcome.fills} for outcome in rig.run(0, 4)]
    assert "S01" not in fills[1] | fills[2]
    assert "S01" in fills[3]
    flat, scores = make_bars(symbols=2), np.zeros((40, 2))
    flat.close[:6] = 100.0
    scores[4:] = [1.0, -1.0]
    told = _told(flat, {5: ("S00",)})
    pair = make_rig(
        told,
        name="crossing",
        sleeves=2,
        forecaster=divided(flat, challengers=1, scores=scores),
        costs=CostModel(0, 0),
        limits=RiskLimits(max_weight=1),
    )
    pair.run(0, 8)
    disputed_at = told.at(5).timestamp.isoformat()
    crossed = [(one.body["symbol"], one.body["crossed_at"]) for one in pair.records("cross")]
    assert ("S01", disputed_at) in crossed
    assert ("S00", disputed_at) not in crossed
    assert ("S00", told.at(6).timestamp.isoformat()) in crossed


def test_an_engine_restored_after_a_dispute_goes_on_the_same(make_bars, make_rig):
    """Stopped after a disputed bar and started anew from its journal, it decides as if never stopped."""
    from trading.recovery import restore_engine

    bars = _told(make_bars(), {4: ("S01", "S03")})
    whole = make_rig(bars, name="whole").run(0, 9)
    rig = make_rig(bars, name="stopped")
    rig.run(0, 5)
    rig.start()
    restore_engine(rig.engine, rig.records())
    again = rig.run(5, 9)
    assert [one.orders for one in again] == [one.orders for one in whole[5:]]


@pytest.mark.parametrize(
    ("age", "rule"),
    [
        (timedelta(minutes=3), "bar_age"),
        (timedelta(minutes=-3), "clock_skew"),
        (timedelta(seconds=30), None),
        (timedelta(seconds=-30), None),
    ],
)
def test_a_stale_feed_and_a_clock_that_runs_ahead_are_told_apart(age, rule):
    """A bar older than the limit was missed; one as far ahead of the engine's clock is reduce-only."""
    check = RiskCheck(RiskLimits(max_bar_age=timedelta(minutes=1)))
    refusals = check.missed(age, ("s0", "s1")) + check.clock_skew(age, ("s0", "s1"))
    assert [(one.rule, one.sleeves) for one in refusals] == ([(rule, ("s0", "s1"))] if rule else [])
    unlimited = RiskCheck(RiskLimits())
    assert unlimited.missed(age, ("s0",)) + unlimited.clock_skew(age, ("s0",)) == []


@given(WEIGHTS, WEIGHTS, st.lists(st.booleans(), min_size=3, max_size=3))
def test_reduce_only_by_symbol_lets_nothing_grow(wanted, current, marks):
    """Whatever is wanted, no weight of a disputed symbol rises, and a mark on none changes nothing."""
    check = RiskCheck(RiskLimits(max_weight=1.0, max_gross=3.0))
    names, symbols = ("s0", "s1"), ("A", "B", "C")
    by_symbol = np.array(marks)[None, :] | np.zeros((2, 1), dtype=bool)
    allowed, _ = check.clip(wanted, current, names, symbols, by_symbol)
    assert (allowed[:, marks] <= current[:, marks]).all()
    plain, _ = check.clip(wanted, current, names, symbols, np.zeros(2, dtype=bool))
    free = ~np.array(marks)
    assert np.array_equal(allowed[:, free], plain[:, free]) or plain.sum(axis=1).max() > 3.0


def test_disputed_inputs_survive_the_journals_text(make_bars, make_rig):
    """Providers and disputed symbols go through canonical text and back unchanged."""
    rig = make_rig(_told(make_bars(), {0: ("S04",)}))
    rig.run(0, 1)
    inputs = DecisionInputs.from_body(json.loads(canonical_json(rig.records("decision")[0].body)))
    assert inputs.providers == ("first",) * 5
    assert inputs.disputed == ("S04",)
    assert decide(replace(inputs, disputed=()), AllocationStrategy()) != decide(inputs, AllocationStrategy())


def test_the_paper_broker_fills_an_undisputed_order_in_the_same_bar(make_bars):
    """A dispute about one symbol holds up no other symbol's order."""
    bars = make_bars()
    broker, first = PaperBroker(CostModel()), bars.at(0).timestamp
    for symbol in ("S00", "S01"):
        broker.submit([Order(f"al-{symbol}", symbol, Side.BUY, Decimal(1), first, "d")])
    second: Slice = _told(bars, {1: ("S01",)}).at(1)
    assert [fill.symbol for fill in broker.on_bar(second)] == ["S00"]
