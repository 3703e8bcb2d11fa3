"""What the executor does when the server repeats itself, or refuses."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.strategy import StrategyIdentity
from alphaloop.errors import ServingError
from alphaloop.forecasts import Route, SymbolStatus
from alphaloop.orders import Side
from trading.decision import DecisionInputs, decide
from trading.forecaster import ArrayForecaster
from trading.forecasts import SharedForecast, group_forecasts, request_forecasts
from trading.risk.risk_check import RiskLimits

SLEEVES = ("sleeve-00", "sleeve-01")


def decision_inputs(bars, answers, reduced=()):
    """Both sleeves hold too much of the first symbol, and would buy the last."""
    return DecisionInputs(
        decision_id="d",
        as_of=bars.at(1).timestamp,
        symbols=bars.symbols,
        prices=tuple(Decimal(100) for _ in bars.symbols),
        blocked=(),
        sleeves=SLEEVES,
        cash=(Decimal(20_000), Decimal(20_000)),
        quantities=tuple(
            tuple(Decimal(800 if place == 0 else 0) for place, _ in enumerate(bars.symbols)) for _ in SLEEVES
        ),
        peak=Decimal(200_000),
        answers=answers,
        reduced=tuple(reduced),
        strategy=StrategyIdentity.of(AllocationStrategy()),
        limits=RiskLimits(max_weight=1.0),
        simulated=True,
    )


def forecast_of(bars):
    """The first symbol is the worst and the last the best."""
    scores = np.tile(np.arange(float(len(bars.symbols))), (len(bars.timestamps), 1))
    return ArrayForecaster(bars.timestamps, bars.symbols, scores).forecast(bars.symbols, bars.at(1).timestamp)


def test_stale_scores_only_reduce(make_bars):
    """The same scores buy when they are fresh, and only sell when the server marks them stale."""
    bars = make_bars(count=3, symbols=3)
    fresh = forecast_of(bars)
    stale = replace(fresh, statuses=(SymbolStatus.STALE,) * 3, route=Route.FALLBACK)
    bought = decide(
        decision_inputs(bars, (SharedForecast(fresh, dict.fromkeys(SLEEVES, "p")),)), AllocationStrategy()
    )
    held = decide(
        decision_inputs(bars, (SharedForecast(stale, dict.fromkeys(SLEEVES, "p")),)), AllocationStrategy()
    )
    assert any(order.side is Side.BUY for order in bought.orders)
    assert all(order.side is Side.SELL for order in held.orders)
    assert held.orders
    assert [(one.rule, one.sleeves) for one in held.refusals if one.rule == "stale_scores"] == [
        ("stale_scores", SLEEVES)
    ]


def test_a_refusal_of_the_server_only_reduces(make_bars):
    """Sleeves whose forecast is refused are named in a refusal, and nothing is bought for them."""
    bars = make_bars(count=3, symbols=3)

    class Refusing:
        def forecasts(self, symbols, as_of, sleeves):
            raise ServingError("127.0.0.1:8001 gave no prediction: INTERNAL: the model fails")

    forecasts, refusals = request_forecasts(Refusing(), bars.symbols, bars.at(1).timestamp, SLEEVES, 2_000)
    (refusal,) = refusals
    assert (refusal.rule, refusal.sleeves) == ("no_forecast", SLEEVES)
    assert "the model fails: reduce-only" in refusal.reason
    decision = decide(decision_inputs(bars, group_forecasts(forecasts), refusals), AllocationStrategy())
    assert decision.orders == ()
    assert refusal in decision.refusals


def test_a_stale_answer_survives_the_journal(make_bars):
    """Replay decides on the same mark."""
    bars = make_bars(count=3, symbols=3)
    stale = replace(forecast_of(bars), statuses=(SymbolStatus.STALE,) * 3)
    answer = SharedForecast(stale, dict.fromkeys(SLEEVES, "p"))
    inputs = decision_inputs(bars, (SharedForecast.from_body(answer.to_body()),))
    assert decide(inputs, AllocationStrategy()) == decide(
        decision_inputs(bars, (answer,)), AllocationStrategy()
    )
    assert any(one.rule == "stale_scores" for one in decide(inputs, AllocationStrategy()).refusals)
