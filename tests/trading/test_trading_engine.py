"""The engine: what it decides it journals, what it journals it sends once, and the books add up."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from alphaloop.clock import sleep
from alphaloop.costs import CostModel
from alphaloop.decision.obtainable_price import booked_price
from alphaloop.errors import InputError, LeaseLostError, ServingError, StaleFeaturesError, VendorError
from alphaloop.forecasts import RoutedForecasts
from alphaloop.journal.verification import verify_journal
from alphaloop.orders import Side
from trading.journal_records import order_from_body
from trading.redecide import redecide_orders
from trading.risk.risk_check import RiskLimits


def test_the_books_reconcile_with_the_broker_after_every_bar(make_bars, make_rig):
    """Cash and positions of all sleeves are the broker's, exactly; equity is what they are worth."""
    bars = make_bars(count=30)
    rig, charged = make_rig(bars), Decimal(0)
    for index in range(30):
        (outcome,) = rig.run(index, index + 1)
        held = {position.symbol: position.quantity for position in rig.engine.portfolio.positions()}
        assert {name: held[name] for name in rig.broker.positions} == rig.broker.positions
        books = rig.engine.portfolio.books
        assert sum(book.cash for book in books) == 1_000_000 + rig.broker.cash
        worth = sum(
            quantity * booked_price(bars.close[index, bars.symbols.index(name)])
            for name, quantity in held.items()
        )
        assert outcome.equity == sum(book.cash for book in books) + worth
        paid = sum(book.costs for book in books)
        charged += sum(fill.cost for fill in outcome.fills)
        assert paid == charged
    assert paid == sum(Decimal(record.body["cost"]) for record in rig.records("fill"))
    assert sum(book.traded for book in books) > 1_000_000


def test_sleeves_that_disagree_send_one_order_a_symbol(make_bars, make_rig):
    """Sleeves told the opposite are netted: one order a symbol, and each still gets its own change."""
    rig = make_rig(make_bars())
    outcomes = rig.run(0, 20)
    opposite = 0
    for outcome in outcomes:
        assert len({order.symbol for order in outcome.orders}) == len(outcome.orders)
    for record in rig.records("fill"):
        shares = list(map(Decimal, record.body["quantities"]))
        sign = Side(record.body["side"]).sign
        assert sum(shares) == Decimal(record.body["quantity"]) * sign
        assert sum(map(Decimal, record.body["costs"])) == Decimal(record.body["cost"])
        opposite += any(share * sign < 0 for share in shares)
    assert opposite > 10
    first, last = rig.engine.portfolio.books[0], rig.engine.portfolio.books[-1]
    assert first.quantities != last.quantities


def test_changes_that_cancel_out_cross_without_an_order(make_bars, make_rig, divided):
    """Two sleeves that want the exact opposite need no market: they cross at the next obtainable price."""
    bars, scores = make_bars(symbols=2), np.zeros((40, 2))
    # Both hold the same until the fifth bar; then one wants what the other wants to be rid of.
    bars.close[:6] = 100.0
    scores[4:] = [1.0, -1.0]
    forecaster = divided(bars, challengers=1, scores=scores)
    rig = make_rig(
        bars, sleeves=2, forecaster=forecaster, costs=CostModel(0, 0), limits=RiskLimits(max_weight=1)
    )
    rig.run(0, 25)
    crosses = rig.records("cross")
    assert len(crosses) >= 2
    crossed = {(record.body["decision_id"], record.body["symbol"]) for record in crosses}
    ordered = {(record.body["decision_id"], record.body["symbol"]) for record in rig.records("order")}
    assert not crossed & ordered
    for record in crosses:
        assert sum(map(Decimal, record.body["quantities"])) == 0
        index = next(i for i in range(25) if bars.at(i).timestamp.isoformat() == record.body["crossed_at"])
        assert Decimal(record.body["price"]) == booked_price(
            bars.close[index, bars.symbols.index(record.body["symbol"])]
        )
    assert rig.engine.portfolio.equity(rig.engine.prices) == 1_000_000 + rig.broker.cash + sum(
        quantity * rig.engine.prices[bars.symbols.index(name)]
        for name, quantity in rig.broker.positions.items()
    )


def test_everything_is_in_the_journal_and_every_decision_replays(make_bars, make_rig):
    """Orders and fills of the outcomes are the journaled ones, and each decision gives its orders again."""
    rig = make_rig(make_bars())
    outcomes = rig.run(0, 25)
    orders = [order_from_body(record.body) for record in rig.records("order")]
    assert orders == [order for outcome in outcomes for order in outcome.orders]
    assert len(rig.records("fill")) == sum(len(outcome.fills) for outcome in outcomes)
    for record, outcome in zip(rig.records("decision"), outcomes, strict=True):
        assert redecide_orders(record.body) == list(outcome.orders)
        assert record.body["equity"] == str(outcome.equity)
        assert sum(map(Decimal, record.body["equities"])) == outcome.equity
    answers = record.body["answers"]
    assert [answer["version"] for answer in answers] == ["2", "1"]
    assert [len(answer["prediction_ids"]) for answer in answers] == [2, 2]
    assert all(
        report.ok for report in verify_journal(rig.folder / "journal.db", rig.folder / "anchors.jsonl")
    )


def test_a_decision_is_filled_at_the_next_open_or_else_the_next_close(make_bars, make_rig):
    """No fill is at the bar that was decided on; with opens it is at the next open, without at the close."""
    for opens in (True, False):
        bars = make_bars(opens=opens)
        rig = make_rig(bars, name=f"opens-{opens}")
        first, second = rig.run(0, 2)
        assert first.fills == ()
        assert len(second.fills) == len(first.orders) == 5
        prices = bars.open if opens else bars.close
        for fill in second.fills:
            assert fill.price == booked_price(prices[1, bars.symbols.index(fill.symbol)])
            assert fill.filled_at == second.as_of


def test_a_bar_given_again_sends_no_second_order(make_bars, make_rig):
    """A retry returns the same outcome, journals nothing, and the broker ends where it would have."""
    bars = make_bars()
    rig, control = make_rig(bars), make_rig(bars, name="control")
    for index in range(10):
        (outcome,) = rig.run(index, index + 1)
        seen = len(rig.records())
        assert rig.run(index, index + 1) == [outcome]
        assert len(rig.records()) == seen
    expected = control.run(0, 10)
    assert outcome.equity == expected[-1].equity
    assert rig.broker.positions == control.broker.positions


def test_a_broker_that_fails_on_submission_is_tried_again_without_a_second_order(make_bars, make_rig):
    """The decision is journaled before it is sent, so the retry sends the same ids and decides nothing."""
    bars = make_bars()
    rig, control = make_rig(bars), make_rig(bars, name="control")
    rig.run(0, 4)
    submit, sent = rig.broker.submit, []

    def refuse(orders):
        submit(orders[:2])
        sent.extend(order.client_order_id for order in orders)
        raise VendorError("the venue is away")

    rig.broker.submit = refuse
    with pytest.raises(VendorError):
        rig.run(4, 5)
    rig.broker.submit = submit
    (again,) = rig.run(4, 5)
    assert [order.client_order_id for order in again.orders] == sent
    assert len(rig.records("decision")) == 5
    control.run(0, 10)
    assert rig.run(5, 10)[-1].equity == control.engine.last.equity


def test_a_journal_that_fails_sends_nothing_and_loses_no_fill(make_bars, make_rig):
    """Fills reported while the journal was away are booked with the retry; no order went out meanwhile."""
    bars = make_bars()
    rig, control = make_rig(bars), make_rig(bars, name="control")
    rig.run(0, 3)
    append, submitted = rig.writer.append_many, rig.broker.submit

    def away(batch):
        raise VendorError("the disk is full")

    def never(orders):
        raise AssertionError("nothing may be sent that is not journaled")

    for allowed in (0, 1):
        calls = iter([append] * allowed)
        rig.writer.append_many = lambda batch, calls=calls: next(calls, away)(batch)
        rig.broker.submit = never
        with pytest.raises(VendorError):
            rig.run(3, 4)
    rig.writer.append_many, rig.broker.submit = append, submitted
    control.run(0, 10)
    assert rig.run(3, 10)[-1].equity == control.engine.last.equity
    assert len(rig.records("fill")) == len(control.records("fill"))


def test_an_engine_that_was_taken_over_sends_nothing(make_bars, make_rig):
    """Once another holds the stream's lease, a bar raises and no order reaches the broker."""
    rig = make_rig(make_bars())
    rig.run(0, 3)
    old, taken = rig.engine, list(rig.broker._known)
    rig.start()
    rig.clock.advance(rig.bars.at(3).timestamp + timedelta(seconds=1))
    with pytest.raises(LeaseLostError):
        old.on_bar(rig.bars.at(3))
    assert list(rig.broker._known) == taken


def test_only_its_own_symbols_and_later_bars_are_traded(make_bars, make_rig):
    """Bars of other symbols, or from before the last decision, are input errors that name them."""
    rig = make_rig(make_bars())
    rig.run(0, 3)
    with pytest.raises(InputError, match="S00"):
        rig.engine.on_bar(make_bars(symbols=3).at(3))
    with pytest.raises(InputError, match="2019-01-03"):
        rig.engine.on_bar(rig.bars.at(1))


def test_a_symbol_without_a_price_is_left_alone_until_it_has_one(make_bars, make_rig):
    """An order waits for its price, nothing new is decided for the symbol meanwhile, and marks stay."""
    bars = make_bars()
    bars.close[1:4, 2] = np.nan
    rig = make_rig(bars)
    outcomes = rig.run(0, 8)
    waiting = outcomes[0].orders[2]
    assert waiting.symbol == "S02"
    for outcome in outcomes[1:4]:
        assert "S02" not in {order.symbol for order in outcome.orders}
    (fill,) = [fill for fill in outcomes[4].fills if fill.symbol == "S02"]
    assert fill.client_order_id == waiting.client_order_id
    assert fill.price == booked_price(bars.close[4, 2])
    assert rig.engine.prices[2] == booked_price(bars.close[7, 2])


class Moody:
    """Answers as another does, except that some sleeves get no answer, an old one or a late one."""

    def __init__(self, inner, moods):
        self.inner, self.moods = inner, moods

    def forecasts(self, symbols, as_of, sleeves):
        routed = self.inner.forecasts(symbols, as_of, sleeves)
        forecasts, failures = dict(routed.forecasts), {}
        for sleeve in set(sleeves) & self.moods.keys():
            mood, answer = self.moods[sleeve], forecasts.pop(sleeve)
            if isinstance(mood, Exception):
                failures[sleeve] = str(mood)
            elif mood != "forgotten":
                forecasts[sleeve] = self.answer(answer, mood, as_of)
        return RoutedForecasts(forecasts, failures)

    def answer(self, answer, mood, as_of):
        if mood == "late":
            sleep(0.08)
        if mood == "old":
            return replace(answer, feature_timestamp=as_of - timedelta(days=1))
        if mood == "future":
            return replace(answer, feature_timestamp=as_of + timedelta(days=1))
        if mood == "foreign":
            return replace(answer, symbols=("X", *answer.symbols[1:]))
        return answer


@pytest.mark.parametrize(
    ("mood", "rule"),
    [
        (ServingError("server is away"), "no_forecast"),
        (StaleFeaturesError("features are 2 days old"), "no_forecast"),
        ("foreign", "no_forecast"),
        ("forgotten", "no_forecast"),
        ("old", "staleness"),
        ("future", "staleness"),
    ],
    ids=str,
)
def test_a_sleeve_without_a_fresh_forecast_is_reduce_only(make_bars, make_rig, divided, mood, rule):
    """Its positions never grow, the others trade on, and the refusal is journaled with its reason."""
    bars = make_bars()
    rig = make_rig(bars, forecaster=Moody(divided(bars), {}))
    rig.run(0, 5)
    rig.forecaster.moods["sleeve-01"] = mood
    # The first bar without a forecast still brings the fills of the last one with.
    outcomes = rig.run(5, 6)
    before = [list(book.quantities) for book in rig.engine.portfolio.books]
    outcomes += rig.run(6, 20)
    after = [book.quantities for book in rig.engine.portfolio.books]
    assert all(now <= then for now, then in zip(after[1], before[1], strict=True))
    assert any(now > then for now, then in zip(after[2], before[2], strict=True))
    for outcome in outcomes:
        assert {(one.rule, one.sleeves) for one in outcome.refusals} == {(rule, ("sleeve-01",))}
    journaled = rig.records("refusal")
    assert len(journaled) == 15
    assert journaled[0].body["rule"] == rule
    assert journaled[0].body["decision_id"] == outcomes[0].decision_id
    assert "reduce-only" in journaled[0].body["reason"]
    assert [redecide_orders(record.body) for record in rig.records("decision")[5:]] == [
        list(outcome.orders) for outcome in outcomes
    ]


def test_a_server_that_is_gone_stops_the_buying_and_not_the_engine(make_bars, make_rig, divided):
    """With no answer at all the book is kept as it is, bar after bar, and one refusal says why."""
    bars = make_bars()
    rig = make_rig(bars, forecaster=Moody(divided(bars), {}))
    rig.run(0, 5)
    rig.forecaster.moods |= {f"sleeve-{n:02d}": ServingError("away") for n in range(4)}
    outcomes = rig.run(5, 12)
    assert not any(outcome.orders for outcome in outcomes)
    assert [len(outcome.refusals) for outcome in outcomes] == [1] * 7
    assert len(outcomes[0].refusals[0].sleeves) == 4
    assert outcomes[-1].forecasts == {}


def test_an_answer_after_the_deadline_is_not_used(make_bars, make_rig, divided):
    """The deadline is the bar's: after it all sleeves that were answered are reduce-only."""
    bars = make_bars()
    forecaster = Moody(divided(bars), {"sleeve-01": ServingError("away"), "sleeve-02": "late"})
    rig = make_rig(bars, forecaster=forecaster, limits=RiskLimits(max_weight=0.6, prediction_deadline_ms=50))
    (outcome,) = rig.run(0, 1)
    failed, late = outcome.refusals
    assert (failed.rule, failed.sleeves) == ("no_forecast", ("sleeve-01",))
    assert (late.rule, late.sleeves) == ("prediction_deadline", ("sleeve-00", "sleeve-02", "sleeve-03"))
    assert "50 ms" in late.reason
    assert outcome.forecasts == {}
    assert outcome.orders == ()


def test_a_bar_is_asked_for_once(make_bars, make_rig, divided):
    """One request names all sleeves, and each trades on the answer that is its own."""
    bars = make_bars()
    rig = make_rig(bars, forecaster=divided(bars))
    (outcome,) = rig.run(0, 1)
    assert rig.forecaster.asked == [rig.engine.portfolio.names]
    assert {sleeve: one.version for sleeve, one in outcome.forecasts.items()} == {
        "sleeve-00": "2", "sleeve-01": "2", "sleeve-02": "1", "sleeve-03": "1",
    }  # fmt: skip


def test_a_drawdown_at_the_limit_stops_the_buying(make_bars, make_rig):
    """When the book has lost the limit nothing is bought any more, and every bar says so."""
    bars = make_bars()
    bars.close[10:] *= 0.7
    rig = make_rig(bars, limits=RiskLimits(max_weight=0.6, max_drawdown=0.25))
    outcomes = rig.run(0, 20)
    assert not any(one.rule == "drawdown" for outcome in outcomes[:10] for one in outcome.refusals)
    for outcome in outcomes[10:]:
        assert [one.rule for one in outcome.refusals] == ["drawdown"]
        assert all(order.side is Side.SELL for order in outcome.orders)
    assert rig.engine.peak > 990_000


def test_a_drawdown_is_counted_from_the_highest_equity(make_bars, make_rig):
    """A book that doubled and then lost the limit is stopped, though it is still above its capital."""
    bars = make_bars()
    bars.close[5:] *= 2
    bars.close[10:] *= 0.7
    rig = make_rig(bars, limits=RiskLimits(max_weight=0.6, max_drawdown=0.25))
    outcomes = rig.run(0, 12)
    assert outcomes[10].equity > 1_200_000
    assert [[one.rule for one in outcome.refusals] for outcome in outcomes[9:]] == [
        [],
        ["drawdown"],
        ["drawdown"],
    ]


def test_a_symbol_with_an_open_order_gets_no_second_one(make_bars, make_rig, slow_broker):
    """While an order is only partly filled, nothing new is decided for its symbol, and the books add up."""
    rig = make_rig(make_bars(), broker=slow_broker)
    ordered = 0
    for index in range(30):
        waiting = {one.symbol for one in rig.engine.portfolio.working.values()}
        (outcome,) = rig.run(index, index + 1)
        still = waiting & {one.symbol for one in rig.engine.portfolio.working.values()}
        filled = {fill.symbol for fill in outcome.fills}
        assert not {order.symbol for order in outcome.orders} & (still - filled)
        assert len(rig.engine.portfolio.working) == len(rig.engine.portfolio.waiting)
        ordered += len(outcome.orders)
    booked_fills = sum(Decimal(record.body["quantity"]) for record in rig.records("fill"))
    open_quantity = sum(abs(sum(one.wanted)) for one in rig.engine.portfolio.working.values())
    assert booked_fills + open_quantity == sum(
        Decimal(record.body["quantity"]) for record in rig.records("order")
    )
    assert ordered > 10


def test_a_bar_that_comes_too_late_is_missed(make_bars, make_rig):
    """Three bars come at once after an outage: two are booked without an order, the newest is traded."""
    limits = RiskLimits(max_weight=0.6, max_bar_age=timedelta(minutes=5))
    rig = make_rig(make_bars(), limits=limits)
    rig.run(0, 2)
    ordered = {order.client_order_id for order in rig.engine.last.orders}
    rig.clock.advance(rig.bars.at(4).timestamp + timedelta(minutes=1))
    first, second, newest = rig.run(2, 5)
    assert {fill.client_order_id for fill in first.fills} == ordered
    assert {fill.filled_at for fill in first.fills} == {rig.bars.at(2).timestamp}
    for missed in (first, second):
        assert missed.orders == ()
        assert [one.rule for one in missed.refusals] == ["bar_age"]
        assert missed.forecasts == {}
    assert newest.refusals == ()
    assert newest.orders
    bodies = [record.body for record in rig.records("decision")]
    assert [body["as_of"] for body in bodies] == [rig.bars.at(n).timestamp.isoformat() for n in range(5)]
    assert [len(redecide_orders(body)) for body in bodies[2:4]] == [0, 0]


def test_a_missed_bar_sells_nothing_either(make_bars, make_rig):
    """Far below its peak a book may sell; on a bar that nobody can trade any more it does not."""
    bars = make_bars(count=6)
    limits = RiskLimits(max_weight=0.2, max_bar_age=timedelta(minutes=5))
    rig = make_rig(bars, limits=limits)
    rig.run(0, 3)
    # Every holding is far above its cap from here on.
    rig.engine._risk = replace(rig.engine._risk, limits=replace(limits, max_weight=0.01))
    rig.clock.advance(bars.at(4).timestamp + timedelta(minutes=1))
    (late,) = rig.run(3, 4)
    assert late.orders == ()
    (newest,) = rig.run(4, 5)
    assert {order.side for order in newest.orders} == {Side.SELL}


def test_a_symbol_above_its_cap_is_sold_down_to_it(make_bars, make_rig):
    """A holding that grows beyond the cap is cut to it, and the refusal names the symbol."""
    bars = make_bars()
    bars.close[5:, 0] *= 3
    rig = make_rig(bars, limits=RiskLimits(max_weight=0.4))
    outcomes = rig.run(0, 8)
    (refusal,) = [one for one in outcomes[5].refusals if one.rule == "max_weight"]
    assert refusal.symbol == "S00"
    assert "40.0%" in refusal.reason
    (book,) = [one for one in rig.engine.portfolio.books if one.name == refusal.sleeves[0]]
    share = book.quantities[0] * rig.engine.prices[0] / book.equity(rig.engine.prices)
    assert abs(share - Decimal("0.4")) < Decimal("0.03")


def test_a_bar_of_twenty_sleeves_and_symbols_takes_less_than_25_ms(make_bars, make_rig, divided, untraced):
    """With the journal on disk and two models, apart from the forecaster (processor time, fastest of 40)."""
    bars = make_bars(count=45, symbols=20)
    rig = make_rig(bars, sleeves=20, forecaster=divided(bars, challengers=5))
    rig.run(0, 5)
    seconds = []
    for index in range(5, 45):
        started = time.process_time()
        rig.run(index, index + 1)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.025
