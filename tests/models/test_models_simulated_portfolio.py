"""The gate's book: halts, limits and ruin are those of the engine that trades."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel, to_datetime
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from models.evaluation.simulated_portfolio import (
    SimulatedPortfolio,
    equal_weight_scores,
    simulate_portfolio,
)
from models.labels import forward_returns
from rollouts.evidence.live_performance import PerformanceTracker
from trading.backtest import equal_weight, run_backtest
from trading.risk.risk_check import RiskLimits

FREE = CostModel(0, 0)
STILL = AllocationStrategy(band=9)
ANY_WEIGHT = RiskLimits(max_weight=1, prediction_deadline_ms=None)


def panel(close: np.ndarray) -> BarPanel:
    """Daily closes."""
    nothing = np.full(close.shape, np.nan)
    return BarPanel(
        timestamps=np.datetime64("2020-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{index}" for index in range(close.shape[1])),
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones(close.shape),
    )


def gauged(close: np.ndarray, scores: np.ndarray, strategy: AllocationStrategy) -> np.ndarray:
    """Net returns of the rollout's paper book, `[bars]`; those that it does not tell are 0."""
    bars = panel(close)
    gauge = PerformanceTracker(strategy, FREE, bars.symbols)
    rows = zip(map(to_datetime, bars.timestamps), close, scores, strict=True)
    return np.nan_to_num([gauge.read(*row).net_return for row in rows])


def simulated(scores: np.ndarray, close: np.ndarray, *chosen: Any) -> SimulatedPortfolio:
    """The gate's portfolio on daily bars; `chosen` are strategy, costs and limits."""
    days = np.datetime64("2020-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D")
    symbols = tuple(f"S{index}" for index in range(close.shape[1]))
    return simulate_portfolio(scores, close, *chosen, timestamps=days, symbols=symbols)


@pytest.mark.parametrize("halted", [1, 4])
def test_what_happens_in_a_halt_is_in_every_book(halted):
    """One of four falls by half while it is halted: gate, rollout, engine and benchmark lose an eighth."""
    close = np.full((30, 4), 100.0)
    close[15 : 15 + halted, 0], close[15 + halted :, 0] = np.nan, 50.0
    scores = np.zeros((30, 4))
    gate = simulated(scores, close, STILL, FREE).net_returns
    assert np.flatnonzero(gate).tolist() == [15 + halted]
    assert np.prod(1 + gate) == pytest.approx(0.875)
    assert np.prod(1 + gauged(close, scores, STILL)) == pytest.approx(0.875)
    engine = run_backtest(panel(close), scores, strategy=STILL, limits=ANY_WEIGHT, costs=FREE)
    assert engine.metrics.net_return == pytest.approx(-0.125, abs=1e-8)
    assert equal_weight(panel(close), FREE)[-1] == pytest.approx(0.875)


def test_a_label_spans_a_halt():
    """A label over a halt is from a price to a price; where a halt covers its start or end there is none."""
    close = np.array([[100.0], [100.0], [np.nan], [50.0], [50.0]])
    labels = forward_returns(close, 2)[:, 0]
    assert labels[0] == -0.5
    assert np.isnan(labels[1:]).all()


def test_what_was_decided_waits_for_the_end_of_a_halt():
    """A sale decided before a halt is made at the first price after it, in gate, rollout and engine."""
    close = np.full((9, 2), 100.0)
    close[4:6, 0], close[6, 0], close[7:, 0] = np.nan, 80.0, 40.0
    scores = np.full((9, 2), np.nan)
    scores[0], scores[3] = 0.0, [-1.0, 1.0]
    policy = AllocationStrategy(tilt=1.0, rate=1.0, band=0.0)
    gate = simulated(scores, close, policy, FREE).net_returns
    # Half falls to 80; all of it is sold there, so that the fall to 40 costs nothing.
    assert gate.tolist() == pytest.approx([0, 0, 0, 0, 0, 0, -0.1, 0, 0])
    assert gauged(close, scores, policy).tolist() == pytest.approx(gate.tolist())
    engine = run_backtest(panel(close), scores, strategy=policy, limits=ANY_WEIGHT, costs=FREE)
    assert engine.metrics.net_return == pytest.approx(-0.1, abs=1e-8)


def test_the_gate_judges_the_book_that_trades():
    """On a random market with halts, costs and a binding cap the gate's book is the engine's."""
    rng = np.random.default_rng(11)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, (400, 6)), axis=0))
    close[rng.random(close.shape) < 0.03] = np.nan
    close[:3] = 100.0
    scores = np.where(np.isfinite(close), rng.normal(size=close.shape).cumsum(axis=0), np.nan)
    limits, costs = BookLimits(max_weight=0.2), CostModel(1, 4)
    gate = simulated(scores, close, AllocationStrategy(), costs, limits).net_returns[2:]
    risk = RiskLimits(max_weight=0.2, prediction_deadline_ms=None)
    engine = run_backtest(panel(close), scores, limits=risk, costs=costs).equity
    traded = (engine[1:] / engine[:-1] - 1)[1:]
    assert np.corrcoef(gate, traded)[0, 1] > 0.999
    assert np.prod(1 + gate) == pytest.approx(np.prod(1 + traded), rel=3e-3)
    free = simulated(scores, close, AllocationStrategy(), costs, BookLimits(max_weight=1.0)).net_returns[2:]
    assert abs(np.prod(1 + free) - np.prod(1 + traded)) > abs(np.prod(1 + gate) - np.prod(1 + traded))


def test_the_gates_book_holds_the_limits_of_the_settings():
    """A cap of 10 % for four names leaves 60 % of the gate's book in cash, and a gross of 0.5 half."""
    close = np.full((6, 4), 100.0) * np.array([1.0, 1.0, 1.0, 1.1, 1.1, 1.1])[:, None]
    scores = equal_weight_scores(close)
    capped = simulated(scores, close, STILL, FREE, BookLimits(max_weight=0.1)).net_returns
    half = simulated(scores, close, STILL, FREE, BookLimits(max_gross=0.5)).net_returns
    assert (capped[3], half[3]) == (pytest.approx(0.04), pytest.approx(0.05))


def test_the_gates_book_buys_nothing_behind_the_drawdown_limit():
    """Once 20 % are lost, what is bought back waits until the loss is smaller."""
    close = np.full((8, 2), 100.0)
    close[2:, 0] = 40.0
    scores = np.zeros((8, 2))
    policy = AllocationStrategy(rate=1.0, band=0.0)
    bound = simulated(scores, close, policy, FREE, BookLimits(max_drawdown=0.2))
    free = simulated(scores, close, policy, FREE, BookLimits(max_drawdown=0.9))
    # The sale of what is above half is still made; the purchase of the other is not.
    assert free.turnover[2] == pytest.approx(2 * (100 / 140 - 0.5))
    assert bound.turnover[2] == pytest.approx(100 / 140 - 0.5)


@pytest.mark.parametrize("fall", [0.6, 0.5])
def test_a_ruined_book_is_closed(fall):
    """A book of three times its capital that loses all of it is closed: no return follows, none is NaN."""
    close = np.full((9, 4), 100.0)
    close[4:] = 100.0 * fall
    close[6:] = 300.0
    book = simulated(
        np.zeros((9, 4)), close, AllocationStrategy(gross=3), FREE, BookLimits(max_gross=3, max_weight=1)
    )
    assert book.net_returns[4] == pytest.approx(3 * (fall - 1))
    assert not book.net_returns[5:].any()
    assert np.isfinite(book.net_returns).all()
