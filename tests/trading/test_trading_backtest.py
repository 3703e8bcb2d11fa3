"""Backtests: the engine and the plain float64 count agree, and the figures are the textbook's."""

from __future__ import annotations

from dataclasses import replace
from time import thread_time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import to_datetime
from alphaloop.costs import CostModel
from trading.backtest import (
    PerformanceMetrics,
    equal_weight,
    momentum_12_1,
    performance_metrics,
    run_backtest,
)
from trading.risk.risk_check import RiskLimits

FREE = CostModel(0, 0)


def _momentum(bars):
    scores = np.full(bars.close.shape, np.nan)
    # The bars of these tests are daily round the clock: a year has 365, a month 30.
    scores[365:] = bars.close[335:-30] / bars.close[:-365] - 1
    return scores


@pytest.mark.parametrize("opens", [False, True])
def test_the_engine_and_the_float_count_agree(make_bars, opens):
    """12-1 momentum through the engine, lots and cents and all, is the float64 curve to two in 10,000."""
    bars = make_bars(count=530, symbols=8, opens=opens)
    policy, costs = AllocationStrategy(), CostModel()
    limits = RiskLimits(max_gross=2, max_weight=1, prediction_deadline_ms=None)
    result = run_backtest(bars, _momentum(bars), strategy=policy, limits=limits, costs=costs)
    plain = momentum_12_1(bars, costs, policy)
    np.testing.assert_allclose(result.equity / 1e6, plain, rtol=2e-4)
    assert plain[365] == 1.0 != plain[367]
    assert result.orders >= result.fills > 0
    assert result.metrics == performance_metrics(result.equity, result.timestamps)


def test_costs_are_paid_on_every_trade(make_bars):
    """The same scores end poorer by about turnover times cost, and by exactly the costs booked."""
    bars = make_bars(count=120)
    scores = np.random.default_rng(5).normal(size=bars.close.shape)
    free, dear = run_backtest(bars, scores, costs=FREE), run_backtest(bars, scores, costs=CostModel(10, 40))
    assert free.costs == 0
    assert dear.equity[-1] < free.equity[-1]
    expected = dear.turnover * len(bars) * 0.005 * dear.equity.mean()
    assert float(dear.costs) == pytest.approx(expected, rel=0.02)


def test_more_sleeves_tell_the_same_story(make_bars):
    """Twenty sleeves told the same end where one does, but for the rounding of lots."""
    bars = make_bars(count=60)
    scores = np.random.default_rng(5).normal(size=bars.close.shape)
    one, many = run_backtest(bars, scores), run_backtest(bars, scores, sleeves=20)
    np.testing.assert_allclose(one.equity, many.equity, rtol=1e-5)


def test_nothing_is_traded_without_scores(make_bars):
    """Without a score the book stays in cash."""
    bars = make_bars(count=10)
    result = run_backtest(bars, np.full(bars.close.shape, np.nan))
    assert (result.orders, result.costs, set(result.equity)) == (0, 0, {1_000_000.0})


def test_equal_weight_is_bought_once_a_year_at_the_next_close(make_bars):
    """Free of costs it follows the mean of prices since the first fill; costs take their share once."""
    bars = make_bars(count=30)
    curve = equal_weight(bars, FREE)
    shares = 1 / 5 / bars.close[0]
    paid = (shares * bars.close[1]).sum()
    expected = 1 - paid + bars.close[1:] @ shares
    np.testing.assert_allclose(curve[1:], expected, rtol=1e-12)
    assert curve[0] == 1.0
    cost = equal_weight(bars, CostModel(10, 40))
    np.testing.assert_allclose(curve[1:] - cost[1:], paid * 0.005, rtol=1e-9)


def test_equal_weight_is_rebalanced_after_the_first_close_of_a_year(make_bars):
    """A year in which one symbol ran away ends with weights far apart; the next begins with equal ones."""
    bars = make_bars(count=740, symbols=2)
    bars.close[:, 0] = np.exp(np.arange(740) * 0.01)
    bars.close[:, 1] = 1.0
    curve = equal_weight(bars, FREE)
    years = bars.timestamps.astype("datetime64[Y]")
    turn = int(np.flatnonzero(years == np.datetime64("2020"))[0])
    growth = curve[turn + 1 :] / curve[turn:-1]
    assert growth[-400 + turn] < 1.01
    np.testing.assert_allclose(curve[turn + 2] / curve[turn + 1] - 1, 0.5 * (np.e**0.01 - 1), rtol=0.05)
    assert curve[turn] / curve[turn - 1] - 1 > 0.9 * (np.e**0.01 - 1)


def test_a_benchmark_can_start_later_with_what_came_before_as_history(make_bars):
    """From a start on the curve begins at one, and momentum trades at once if it has a year behind it."""
    bars = make_bars(count=480)
    start = to_datetime(bars.timestamps[380])
    momentum = momentum_12_1(bars, CostModel(), AllocationStrategy(), start)
    assert (len(momentum), momentum[0]) == (100, 1.0)
    assert momentum[1] != 1.0
    assert (len(equal_weight(bars, CostModel(), start)), equal_weight(bars, CostModel(), start)[0]) == (
        100,
        1.0,
    )


def test_symbols_that_list_late_or_skip_bars_are_held_at_their_last_price(make_bars):
    """Gaps neither stop a curve nor are filled from the future."""
    bars = make_bars(count=400)
    whole = equal_weight(bars, FREE)
    bars.close[100:103, 0] = np.nan
    gap = equal_weight(bars, FREE)
    np.testing.assert_allclose(gap[103:], whole[103:])
    assert np.isfinite(gap).all()
    bars.close[:50, 1] = np.nan
    assert np.isfinite(equal_weight(bars, FREE)).all()
    assert np.isfinite(momentum_12_1(bars, FREE, AllocationStrategy())).all()
    assert np.isfinite(
        run_backtest(bars, np.random.default_rng(5).normal(size=bars.close.shape)).equity
    ).all()


def test_metrics_are_those_of_the_textbook():
    """Return, drawdown, Sharpe and volatility of a curve that can be checked by hand."""
    found = performance_metrics([100.0, 110.0, 88.0, 96.8])
    returns = np.array([0.1, -0.2, 0.1])
    assert found.net_return == pytest.approx(-0.032)
    assert found.max_drawdown == pytest.approx(0.2)
    assert found.volatility == pytest.approx(returns.std(ddof=1) * np.sqrt(252))
    assert found.sharpe_net == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252))
    assert performance_metrics([1.0, 1.0]) == performance_metrics([2.0, 2.0, 2.0])
    assert performance_metrics([1.0, 1.0]).sharpe_net == 0.0


@pytest.mark.parametrize(
    ("step", "bars_a_year"),
    [(np.timedelta64(1, "h"), 8_766.0), (np.timedelta64(1, "D"), 365.25), (np.timedelta64(7, "D"), 52.1786)],
    ids=["hourly", "round the clock", "weekly"],
)
def test_figures_are_annual_by_the_bars_that_there_are(make_bars, step, bars_a_year):
    """A backtest of hourly, daily or weekly bars is annualised by their timestamps, not by 252."""
    bars = make_bars(count=400, symbols=3)
    bars = replace(bars, timestamps=np.datetime64("2020-01-05", "ns") + np.arange(400) * step)
    found = run_backtest(bars, np.zeros(bars.close.shape), costs=FREE)
    returns = found.equity[1:] / found.equity[:-1] - 1
    spread = returns.std(ddof=1)
    assert found.metrics.volatility == pytest.approx(spread * np.sqrt(bars_a_year), rel=1e-4)
    assert found.metrics.sharpe_net == pytest.approx(returns.mean() / spread * np.sqrt(bars_a_year), rel=1e-4)
    with pytest.raises(ValueError, match="400 values of an equity curve have 399 timestamps"):
        performance_metrics(found.equity, bars.timestamps[1:])


def test_exchange_days_have_the_year_of_the_literature():
    """Weekdays less holidays are annualised by 252, so that an independent ledger agrees exactly."""
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2021-01-01"))
    days = days[np.is_busday(days, holidays=days[::35])]
    curve = np.exp(np.cumsum(np.random.default_rng(4).normal(0, 0.01, len(days))))
    returns = curve[1:] / curve[:-1] - 1
    told = performance_metrics(curve, days.astype("datetime64[ns]"))
    assert told.sharpe_net == pytest.approx(returns.mean() / returns.std(ddof=1) * np.sqrt(252), rel=1e-12)


def test_momentum_looks_back_a_year_and_a_month_of_its_own_bars(make_bars):
    """On weekly bars 12-1 momentum buys after 52 weeks, by the return from 52 to 4 weeks ago."""
    bars = make_bars(count=70, symbols=2)
    bars = replace(
        bars, timestamps=np.datetime64("2020-01-05", "ns") + np.arange(70) * np.timedelta64(7, "D")
    )
    weeks = np.arange(70)
    # The winner of the first 48 weeks loses in the last month: who looks at that holds the other.
    bars.close[:, 0] = np.where(weeks <= 48, 100 * 1.01**weeks, 50 * 1.001**weeks)
    bars.close[:, 1] = np.where(weeks <= 48, 100.0, 200.0)
    curve = momentum_12_1(bars, FREE, AllocationStrategy(tilt=1.0, rate=1.0, band=0.0))
    assert set(curve[:54]) == {1.0}
    # One over the price of the decision is bought at the next close.
    rise = bars.close[54, 0] - bars.close[53, 0]
    np.testing.assert_allclose(curve[54], 1 + rise / bars.close[52, 0])


@given(arrays(np.float64, st.integers(2, 40), elements=st.floats(0.5, 2)), st.floats(0.1, 10))
def test_metrics_do_not_depend_on_the_currency(curve, factor):
    """Scaling a curve changes no figure, and drawdown is a share."""
    one, other = performance_metrics(curve), performance_metrics(curve * factor)
    assert 0 <= one.max_drawdown < 1
    assert other.net_return == pytest.approx(one.net_return, abs=1e-9)
    assert other.sharpe_net == pytest.approx(one.sharpe_net, rel=1e-6, abs=1e-6)


def test_a_table_is_no_equity_curve():
    """An equity curve has one dimension."""
    with pytest.raises(ValueError, match="equity curve"):
        performance_metrics([[1.0, 2.0]])


@pytest.mark.parametrize("curve", [[], [1.0], [1.0, float("nan")], [0.0, 0.0], [-1.0, 2.0], [float("inf")]])
def test_a_curve_that_says_nothing_has_figures_of_zero(curve):
    """Too short, unknown, or without capital from the start: every figure is 0."""
    assert performance_metrics(curve) == PerformanceMetrics(0.0, 0.0, 0.0, 0.0)


def test_a_ruined_curve_tells_how_much_was_lost():
    """From 100 over 50 to -20 the return is -120 %, the drawdown 120 %, and what follows is no return."""
    told = performance_metrics([100.0, 50.0, -20.0, -20.0, -20.0])
    returns = np.array([-0.5, -1.4, 0.0, 0.0])
    assert (told.net_return, told.max_drawdown) == (-1.2, 1.2)
    assert told.volatility == pytest.approx(returns.std(ddof=1) * np.sqrt(252))


def test_a_gap_in_a_curve_is_left_out():
    """A value that is not known is passed over: the return from 1 to 1.1 spans it."""
    days = np.datetime64("2020-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    assert performance_metrics([1.0, float("nan"), 1.1], days).net_return == pytest.approx(0.1)


def test_a_bar_of_a_backtest_takes_less_than_5_ms(make_bars, untraced):
    """Twenty symbols through the engine without a journal, in processor time."""
    bars = make_bars(count=150, symbols=20)
    scores = np.random.default_rng(5).normal(size=bars.close.shape)
    started = thread_time()
    run_backtest(bars, scores)
    assert (thread_time() - started) / 150 < 0.005
