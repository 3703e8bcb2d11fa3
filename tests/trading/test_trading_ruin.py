"""Ruin and extremes: a sleeve without equity is closed and told; tiny prices and small books count."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.costs import CostModel
from alphaloop.decision.obtainable_price import booked_price
from trading.backtest import run_backtest
from trading.decision import DecisionInputs, decide
from trading.risk.risk_check import RiskLimits

LEVERED = RiskLimits(max_gross=3, max_weight=1, prediction_deadline_ms=None)


def panel(close: np.ndarray) -> BarPanel:
    """Daily closes."""
    nothing = np.full(close.shape, np.nan)
    return BarPanel(
        timestamps=np.datetime64("2019-01-02T21:00", "ns") + np.arange(len(close)) * np.timedelta64(1, "D"),
        symbols=tuple(f"S{index:02d}" for index in range(close.shape[1])),
        open=nothing,
        high=nothing,
        low=nothing,
        close=close,
        volume=nothing,
        adjustment=np.ones(close.shape),
    )


def test_a_ruined_book_is_sold_and_told():
    """Three times levered, a fall of 40 % leaves -200,000: all is sold at the next price, nothing bought."""
    close = np.full((12, 4), 100.0)
    close[5:], close[8:] = 60.0, 20.0
    told = run_backtest(
        panel(close),
        np.zeros((12, 4)),
        strategy=AllocationStrategy(gross=3),
        limits=LEVERED,
        costs=CostModel(0, 0),
    )
    assert told.equity[5:].tolist() == pytest.approx([-200_000.0] * 7)
    assert told.refused["ruin"] == 7
    assert (told.metrics.net_return, told.metrics.max_drawdown) == (pytest.approx(-1.2), pytest.approx(1.2))
    assert (told.orders, told.fills) == (8, 8)


def make_inputs(cash: tuple[str, ...], held: tuple[str, ...], **given: object) -> DecisionInputs:
    """A decision without forecasts, of one symbol at 10."""
    body = {
        "decision_id": "t/1",
        "as_of": "2020-01-02T21:00:00+00:00",
        "symbols": ["S"],
        "prices": ["10"],
        "blocked": [],
        "sleeves": [f"sleeve-{row}" for row in range(len(cash))],
        "cash": list(cash),
        "quantities": [[one] for one in held],
        "peak": "1000",
        "answers": [],
        "reduced": [],
        "policy": {"tilt": 0.5, "rate": 0.1, "band": 0.05, "gross": 1.0},
        "limits": LEVERED.to_body() | {"max_drawdown": 1.0},
        "simulated": True,
    }
    return DecisionInputs.from_body(body | given)


def test_other_sleeves_are_not_closed():
    """Of two sleeves the one without equity sells all, and the other keeps what it has."""
    decision = decide(make_inputs(("-1000.00", "0"), ("100", "20")), AllocationStrategy())
    (order,) = decision.orders
    assert (order.side, order.quantity) == ("sell", 100)
    (told,) = [one for one in decision.refusals if one.rule == "ruin"]
    assert told.sleeves == ("sleeve-0",)
    assert told.reason.startswith("equity is 0.00: nothing is left")


@pytest.mark.parametrize("given", [{"blocked": ["S"]}, {"prices": [None]}])
def test_a_ruined_sleeve_waits_for_a_price(given):
    """A symbol that cannot be traded now is sold later."""
    assert decide(make_inputs(("-1000",), ("20",), **given), AllocationStrategy()).orders == ()


def test_a_disputed_price_does_not_keep_a_ruined_sleeve_in():
    """A sale lets a position shrink, and so passes where the symbol is reduce-only."""
    assert (
        decide(make_inputs(("-1000",), ("20",), disputed=["S"]), AllocationStrategy()).orders[0].quantity
        == 20
    )


@pytest.mark.parametrize(
    ("price", "digits"),
    [
        (1.23456789e-7, "1.23456789E-7"),
        (0.000012345678, "0.000012345678"),
        (123.456789, "123.45678900"),
        (0.25, "0.250000000"),
        (0.0, "0E-8"),
    ],
)
def test_tiny_prices_keep_their_digits(price, digits):
    """A booked price has nine significant digits at least, and eight decimals."""
    assert booked_price(price) == Decimal(digits)


def test_a_market_of_tiny_prices_is_worth_what_it_is():
    """Prices of a ten-millionth, up by 10 %, earn what prices of a hundred do, and no unit is oversold."""
    close = np.full((40, 4), 100.0) * np.exp(np.cumsum(np.full((40, 4), 0.0025), axis=0))
    scores = np.random.default_rng(1).normal(size=(40, 4))
    usual = run_backtest(panel(close), scores, costs=CostModel(0, 0))
    tiny = run_backtest(panel(close * 1.2345e-10), scores, costs=CostModel(0, 0))
    np.testing.assert_allclose(tiny.equity, usual.equity, rtol=1e-7)


def test_no_more_is_sold_than_is_held_of_a_tiny_price():
    """Beyond 2**53 lots a float cannot count: a sale of all leaves nothing, and nothing short."""
    held = "912345678901234567.8901"
    decision = decide(make_inputs(("-1000000",), (held,), prices=["0.0000000000001"]), AllocationStrategy())
    assert decision.orders[0].quantity <= Decimal(held)
    assert decision.orders[0].quantity == pytest.approx(Decimal(held), rel=Decimal("1e-15"))


def test_a_small_book_pays_what_a_large_one_pays(make_bars):
    """Costs take the same share of a book of 2,000 in twenty sleeves as of one of 2,000,000."""
    bars = make_bars(count=60, symbols=8)
    bars = replace(bars, close=bars.close / 100)
    scores = np.random.default_rng(2).normal(size=bars.close.shape)
    small, large = (
        run_backtest(bars, scores, costs=CostModel(1, 4), capital=capital, sleeves=20)
        for capital in (2_000, 2_000_000)
    )
    assert float(small.costs) / 2_000 == pytest.approx(float(large.costs) / 2_000_000, rel=2e-3)
    assert small.metrics.net_return == pytest.approx(large.metrics.net_return, rel=1e-3)
