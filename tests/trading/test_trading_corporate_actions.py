"""Corporate actions in the books: a split is no loss, and a dividend is money."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.costs import CostModel
from alphaloop.errors import AlphaloopError
from trading.backtest import equal_weight, momentum_12_1, run_backtest
from trading.brokers.paper import PaperBroker
from trading.recovery import restore_engine
from trading.risk.risk_check import RiskLimits

FREE = CostModel(0, 0)
ANY_WEIGHT = RiskLimits(max_weight=1, prediction_deadline_ms=None)
ALIKE = {"costs": FREE, "limits": ANY_WEIGHT}


def panel(close: np.ndarray, adjustment: np.ndarray | None = None) -> BarPanel:
    """Daily bars of `close`, without opens."""
    nothing = np.full(close.shape, np.nan)
    return BarPanel(
        timestamps=np.datetime64("2019-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{index:02d}" for index in range(close.shape[1])),
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones(close.shape) if adjustment is None else adjustment,
    )


def split(bars: BarPanel, row: int, symbol: int, ratio: float) -> BarPanel:
    """`bars` with `ratio` new units for one old of a symbol from `row` on, and prices as then traded."""
    close, adjustment = bars.close.copy(), bars.adjustment.copy()
    close[row:, symbol] /= ratio
    adjustment[row:, symbol] *= ratio
    return replace(bars, close=close, adjustment=adjustment)


@pytest.mark.parametrize("ratio", [2.0, 1.5, 20.0, 0.1, 7 / 3])
def test_a_split_is_no_loss(make_bars, ratio):
    """With a split, the engine ends with the equity of the same market without one, to a lot."""
    bars, scores = make_bars(count=30), np.random.default_rng(5).normal(size=(30, 5))
    without = run_backtest(bars, scores, limits=ANY_WEIGHT, costs=FREE)
    followed = run_backtest(split(bars, 12, 2, ratio), scores, limits=ANY_WEIGHT, costs=FREE)
    np.testing.assert_allclose(followed.equity, without.equity, rtol=2e-7)
    assert followed.orders == without.orders


def test_an_order_under_way_is_filled_in_new_units(make_rig):
    """An order for 2,500 decided before a 2:1 split buys 5,000 after it, and its book is not in debt."""
    bars = split(panel(np.full((4, 4), 100.0)), 1, 0, 2.0)
    rig = make_rig(bars, sleeves=1, scores=np.zeros((4, 4)), **ALIKE)
    first, second = rig.run(0, 2)
    ordered = next(order for order in first.orders if order.symbol == "S00")
    filled = next(fill for fill in second.fills if fill.symbol == "S00")
    assert (filled.quantity, filled.price) == (2 * ordered.quantity, Decimal(50))
    assert (rig.engine.portfolio.books[0].cash, second.equity) == (0, 1_000_000)


def test_a_dividend_is_paid_in_money(make_rig):
    """100 falls to 99 with a factor of 100/99: each unit held is paid 1.00, and no unit is added."""
    close, adjustment = np.full((6, 4), 100.0), np.ones((6, 4))
    close[3:, 1], adjustment[3:, 1] = 99.0, 100 / 99
    rig = make_rig(
        panel(close, adjustment),
        costs=FREE,
        sleeves=2,
        scores=np.zeros((6, 4)),
        limits=RiskLimits(max_weight=1),
    )
    rig.run(0, 3)
    (outcome,) = rig.run(3, 4)
    (action,) = outcome.actions
    assert (action.words, action.payment, action.cash) == ("S01 1 a unit", 1, (1250, 1250))
    assert [book.quantities[1] for book in rig.engine.portfolio.books] == [1250, 1250]
    assert (outcome.equity, rig.broker.cash) == (1_000_000, -1_000_000 + 2_500)


def test_a_dividend_of_a_day_on_which_the_price_holds_is_a_gain():
    """A price that does not fall on the ex-date leaves the holder with the dividend that was declared."""
    close, adjustment = np.full((6, 4), 100.0), np.ones((6, 4))
    adjustment[3:, 1] = 100 / 98
    free = AllocationStrategy(band=9)
    told = run_backtest(
        panel(close, adjustment), np.zeros((6, 4)), strategy=free, limits=ANY_WEIGHT, costs=FREE
    )
    assert told.equity.tolist() == [1_000_000.0] * 3 + [1_005_000.0] * 3


def test_a_split_on_the_day_of_a_dividend_is_both(make_rig):
    """A step of 2 × 100/99.5 gives two units for one and 0.50 for each unit held before."""
    close, adjustment = np.full((4, 4), 100.0), np.ones((4, 4))
    close[2:, 0], adjustment[2:, 0] = 49.75, 2 * 100 / 99.5
    rig = make_rig(
        panel(close, adjustment),
        costs=FREE,
        sleeves=1,
        scores=np.zeros((4, 4)),
        limits=RiskLimits(max_weight=1),
    )
    (action,) = rig.run(0, 3)[-1].actions
    assert (action.new, action.old, action.payment, action.cash) == (2, 1, Decimal("0.5"), (1250,))
    assert rig.engine.last.equity == 1_000_000


def test_a_fraction_of_a_lot_is_paid(make_rig):
    """A reverse split of 1:3 leaves whole lots, and each sleeve is worth what it was, to a millionth."""
    bars, scores = make_bars_of(seed=8), np.full((10, 5), np.nan)
    scores[0] = 0.0
    rig = make_rig(split(bars, 4, 1, 1 / 3), sleeves=3, costs=FREE, scores=scores)
    rig.run(0, 4)
    held = [book.quantities[1] for book in rig.engine.portfolio.books]
    (action,) = rig.run(4, 5)[0].actions
    price = Decimal(f"{bars.close[3, 1]:.8f}")
    assert all(one == one.quantize(Decimal("0.0001")) for one in action.quantities)
    assert all(quantity * 3 != was for quantity, was in zip(action.quantities, held, strict=True))
    for was, now, paid in zip(held, action.quantities, action.cash, strict=True):
        assert abs(now * price * 3 + paid - was * price) < Decimal("1e-6")


def make_bars_of(seed: int) -> BarPanel:
    """A random walk of five symbols over ten bars."""
    rng = np.random.default_rng(seed)
    return panel(100.0 * np.exp(np.cumsum(rng.normal(0, 0.02, (10, 5)), axis=0)))


def test_a_split_is_no_drawdown(make_rig):
    """Peak and drawdown limit stand in money: a 10:1 split of a quarter of the book reduces nothing."""
    bars = split(panel(np.full((6, 4), 100.0)), 3, 0, 10.0)
    rig = make_rig(bars, costs=FREE, limits=RiskLimits(max_weight=1, max_drawdown=0.05))
    outcomes = rig.run(0, 6)
    assert rig.engine.peak == 1_000_000
    assert not any(refusal.rule == "drawdown" for one in outcomes for refusal in one.refusals)


def test_an_action_behind_a_halt_is_booked_when_trading_resumes(make_rig):
    """A symbol that splits while it is halted is worth what it was, during the halt and after it."""
    bars = split(panel(np.full((8, 4), 100.0)), 4, 2, 4.0)
    bars.close[3:6, 2] = np.nan
    rig = make_rig(bars, scores=np.zeros((8, 4)), **ALIKE)
    outcomes = rig.run(0, 8)
    assert [outcome.equity for outcome in outcomes] == [1_000_000] * 8
    assert [len(outcome.actions) for outcome in outcomes] == [0, 0, 0, 0, 0, 0, 1, 0]
    told = equal_weight(bars, FREE)
    np.testing.assert_allclose(told, 1.0)


@pytest.mark.parametrize("broker", ["paper", "slow"])
def test_a_restart_after_any_bar_keeps_the_actions(make_rig, slow_broker, broker):
    """Restarted after every bar around a split and a dividend, books and outcomes are those of no restart."""
    bars = split(make_bars_of(seed=2), 4, 1, 2.0)
    bars.adjustment[7:, 3] *= 1.01
    steady = make_rig(bars, name="steady", broker=slow_broker if broker == "slow" else None)
    expected = steady.run(0, 10)
    other = type(slow_broker)(steady.costs) if broker == "slow" else None
    rig = make_rig(bars, broker=other)
    for index in range(10):
        rig.run(index, index + 1)
        assert rig.engine.last == expected[index]
        rig.start()
        restore_engine(rig.engine, rig.records())
    assert rig.engine.portfolio.books == steady.engine.portfolio.books
    assert len(rig.records("corporate_action")) == 2


class Full(AlphaloopError):
    """The disk is full."""


@pytest.mark.parametrize("kind", ["corporate_action", "fill", "decision"])
@pytest.mark.parametrize("restarted", [False, True])
def test_an_action_is_booked_once_whatever_fails(make_rig, kind, restarted):
    """A journal that fails before or after the action, and a bar that comes again, book a split once."""
    bars = split(make_bars_of(seed=3), 5, 0, 2.0)
    rig, control = make_rig(bars), make_rig(bars, name="control")
    rig.run(0, 5)
    append = rig.writer.append_many

    def failing(batch):
        if batch[0][0] == kind:
            raise Full("no space left")
        return append(batch)

    rig.writer.append_many = failing
    with pytest.raises(Full):
        rig.run(5, 6)
    rig.writer.append_many = append
    if restarted:
        rig.broker = PaperBroker(rig.costs)
        rig.start()
        restore_engine(rig.engine, rig.records())
    rig.run(5, 10)
    control.run(0, 10)
    assert rig.engine.portfolio.books == control.engine.portfolio.books
    assert len(rig.records("corporate_action")) == 1


def test_the_record_says_what_the_books_got(make_rig):
    """The journal tells of a split by symbol, ratio, bar, factor, quantities and what stays open."""
    bars = split(panel(np.full((4, 4), 100.0)), 1, 0, 2.0)
    rig = make_rig(bars, sleeves=2, scores=np.zeros((4, 4)), **ALIKE)
    first, _ = rig.run(0, 2)
    (record,) = rig.records("corporate_action")
    assert record.body == {
        "symbol": "S00",
        "as_of": "2019-01-03T21:00:00+00:00",
        "new_units": 2,
        "old_units": 1,
        "payment": "0",
        "adjustment": 2.0,
        "quantities": ["0.0000", "0.0000"],
        "cash": ["0E-8", "0E-8"],
        "open": [{"decision_id": first.decision_id, "wanted": ["2500.0000", "2500.0000"]}],
    }


def test_a_journal_without_adjustments_stands_at_those_of_its_last_bar(make_rig):
    """A home whose decisions do not tell the adjustment follows a split of the first bar afterwards."""
    bars = split(panel(np.full((6, 4), 100.0)), 4, 0, 2.0)
    bars.adjustment[:, 1] = 8.0
    rig = make_rig(bars, scores=np.zeros((6, 4)), **ALIKE)
    rig.run(0, 4)
    old = [
        replace(one, body={name: value for name, value in one.body.items() if name != "adjustments"})
        for one in rig.records()
    ]
    rig.start()
    restore_engine(rig.engine, old, bars)
    assert rig.engine.adjustments == [1.0, 8.0, 1.0, 1.0]
    assert rig.run(4, 5)[0].equity == 1_000_000


def test_an_action_that_nobody_can_vouch_for_waits(make_rig):
    """A disputed bar books no split; the next undisputed one does."""
    bars = split(panel(np.full((6, 4), 100.0)), 3, 0, 2.0)
    disputed = np.zeros(bars.close.shape, dtype=bool)
    disputed[3, 0] = True
    rig = make_rig(replace(bars, disputed=disputed), scores=np.zeros((6, 4)), **ALIKE)
    outcomes = rig.run(0, 6)
    assert [len(one.actions) for one in outcomes] == [0, 0, 0, 0, 1, 0]
    assert [one.equity for one in outcomes] == [1_000_000] * 6


def test_benchmarks_follow_splits_and_dividends():
    """Equal weight and momentum lose nothing by a split, and earn a dividend whose price holds."""
    plain = panel(np.full((300, 4), 100.0) * np.exp(np.linspace(0, 0.1, 300))[:, None])
    halved = split(plain, 270, 0, 2.0)
    for curve in (
        lambda bars: equal_weight(bars, CostModel()),
        lambda bars: momentum_12_1(bars, CostModel(), AllocationStrategy()),
    ):
        np.testing.assert_allclose(curve(halved), curve(plain), rtol=1e-12)
    paid = panel(np.full((6, 4), 100.0))
    paid.adjustment[3:, 0] = 100 / 98
    assert equal_weight(paid, FREE).tolist() == pytest.approx([1.0, 1.0, 1.0, 1.005, 1.005, 1.005])


def test_a_benchmarks_order_waits_for_a_price():
    """Equal weight buys a symbol that is halted at its first fill when it trades again, and once."""
    close = np.full((6, 4), 100.0)
    close[1:3, 0] = np.nan
    close[4:] = 110.0
    told = equal_weight(panel(close), FREE)
    assert told.tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.1, 1.1])


def test_a_history_at_another_level_is_no_action(make_rig):
    """Factors that begin anew at another level, as after a new base of history, change no units."""
    bars = split(panel(np.full((7, 4), 100.0)), 2, 0, 2.0)
    rig = make_rig(bars, scores=np.zeros((7, 4)), **ALIKE)
    rig.run(0, 4)
    rig.bars = replace(bars, adjustment=bars.adjustment / bars.adjustment[3])
    rig.bars.adjustment[5:, 1] *= 4.0
    rig.bars.close[5:, 1] /= 4.0
    rig.start()
    restore_engine(rig.engine, rig.records(), rig.bars.between(end=to_datetime(bars.timestamps[3])))
    outcomes = rig.run(4, 7)
    assert [[one.words for one in outcome.actions] for outcome in outcomes] == [[], ["S01 4:1 split"], []]
    assert [outcome.equity for outcome in outcomes] == [1_000_000] * 3


def test_an_action_that_waits_survives_a_restart(make_rig):
    """A split whose first bar is disputed is booked after a restart, at the next bar that is not."""
    bars = split(panel(np.full((6, 4), 100.0)), 3, 0, 2.0)
    disputed = np.zeros(bars.close.shape, dtype=bool)
    disputed[3, 0] = True
    rig = make_rig(replace(bars, disputed=disputed), scores=np.zeros((6, 4)), **ALIKE)
    rig.run(0, 4)
    rig.start()
    restore_engine(rig.engine, rig.records(), bars.between(end=to_datetime(bars.timestamps[3])))
    (outcome,) = rig.run(4, 5)
    assert ([one.words for one in outcome.actions], outcome.equity) == (["S00 2:1 split"], 1_000_000)


@pytest.mark.parametrize("restarted", [False, True])
def test_another_providers_factor_is_another_level(make_rig, restarted):
    """A second provider whose factors stand at another level splits nothing; a split of its bar does."""
    bars = split(panel(np.full((6, 4), 100.0)), 3, 1, 2.0)
    bars.adjustment[3:, 0] *= 4.0
    providers = np.full(bars.close.shape, "first", dtype=object)
    providers[3:] = "second"
    bars = replace(bars, providers=providers)
    rig = make_rig(bars, scores=np.zeros((6, 4)), **ALIKE)
    rig.run(0, 3)
    if restarted:
        rig.start()
        restore_engine(rig.engine, rig.records())
    outcomes = rig.run(3, 6)
    assert [[one.words for one in outcome.actions] for outcome in outcomes] == [["S01 2:1 split"], [], []]
    assert [outcome.equity for outcome in outcomes] == [1_000_000] * 3
