"""A universe whose members change: who is no member is sold, is not bought, and replays so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.bars import BarPanel
from alphaloop.costs import CostModel
from alphaloop.universe_mask import MEMBER_COLUMN, outside_universe
from models.evaluation.simulated_portfolio import equal_weight_scores, simulate_portfolio
from trading.backtest import equal_weight, momentum_12_1
from trading.redecide import redecide_orders

JOINS, LEAVES = 10, 20
FREE = CostModel(0.0, 0.0)


@pytest.fixture
def bars(make_bars: Any) -> BarPanel:
    """The first of five symbols leaves on bar 20, the second joins on bar 10."""
    made: BarPanel = make_bars(40)
    member = np.ones(made.close.shape)
    member[LEAVES:, 0], member[:JOINS, 1] = 0.0, 0.0
    return replace(made, extra={MEMBER_COLUMN: member})


def crashing(bars: BarPanel) -> BarPanel:
    """The same market, in which who left falls to a tenth two bars later, and who joins fell before."""
    close = bars.close.copy()
    close[LEAVES + 2 :, 0] *= 0.1
    close[: JOINS - 2, 1] *= 10.0
    return replace(bars, close=close)


def test_a_symbol_is_held_while_it_is_a_member(bars: BarPanel, make_rig: Any) -> None:
    """It is bought after it joins, and sold whole at the first price after the bar that it left on."""
    rig, held = make_rig(bars), []
    for index in range(len(bars)):
        rig.run(index, index + 1)
        held.append(
            [sum(book.quantities[column] for book in rig.engine.portfolio.books) for column in (0, 1)]
        )
    first, second = np.array(held, dtype=float).T
    assert (first[1 : LEAVES + 1] > 0).all()
    assert (first[LEAVES + 1 :] == 0).all()
    assert (second[: JOINS + 1] == 0).all()
    assert (second[JOINS + 1 :] > 0).all()


def test_a_journal_of_a_changing_universe_replays_to_the_same_orders(bars: BarPanel, make_rig: Any) -> None:
    """Decisions name who was outside, and give the same orders again; without a universe none does."""
    rig = make_rig(bars)
    outcomes = rig.run(0, 30)
    for record, outcome in zip(rig.records("decision"), outcomes, strict=True):
        assert redecide_orders(record.body) == list(outcome.orders)
    assert [record.body.get("outside") for record in rig.records("decision")][9:21] == [
        ["S01"], *[None] * 10, ["S00"],
    ]  # fmt: skip


def test_a_sleeve_without_a_forecast_sells_who_left_too(bars: BarPanel, make_rig: Any, divided: Any) -> None:
    """Nobody answers on the bar of leaving: positions are kept, but for that one."""
    scores = np.random.default_rng(3).normal(size=bars.close.shape)
    rig = make_rig(bars, scores=scores)
    rig.run(0, LEAVES)
    rig.engine._forecaster = type("Away", (), {"forecasts": lambda *_: _away()})()
    (outcome,) = rig.run(LEAVES, LEAVES + 1)
    assert [(order.symbol, order.side.value) for order in outcome.orders] == [("S00", "sell")]


def _away() -> Any:
    from alphaloop.errors import ServingError

    raise ServingError("away")


@pytest.mark.parametrize("benchmark", ["gate", "equal weight"])
def test_no_book_gains_or_loses_by_who_is_outside(bars: BarPanel, benchmark: str) -> None:
    """A crash after leaving, or before joining, changes no equity; without a universe it does."""

    def equity(market: BarPanel) -> np.ndarray:
        if benchmark == "equal weight":
            return equal_weight(market, FREE)
        return simulate_portfolio(
            equal_weight_scores(market.close),
            market.close,
            AllocationStrategy(),
            FREE,
            timestamps=market.timestamps,
            symbols=market.symbols,
            outside=outside_universe(market),
        ).net_returns

    np.testing.assert_allclose(equity(crashing(bars)), equity(bars), rtol=1e-12)
    everybody = replace(bars, extra={})
    assert not np.allclose(equity(crashing(everybody)), equity(everybody))


def test_12_1_momentum_does_not_hold_who_left(make_bars: Any) -> None:
    """The benchmark does not notice that a former member falls to a tenth; without a universe it does."""
    bars = make_bars(440)
    member = np.ones(bars.close.shape)
    member[400:, 0] = 0.0
    close = bars.close.copy()
    close[402:, 0] *= 0.1

    def equity(close: np.ndarray, extra: dict[str, np.ndarray]) -> np.ndarray:
        return momentum_12_1(replace(bars, close=close, extra=extra), FREE, AllocationStrategy())

    universe = {MEMBER_COLUMN: member}
    np.testing.assert_allclose(equity(close, universe), equity(bars.close, universe), rtol=1e-12)
    assert not np.allclose(equity(close, {}), equity(bars.close, {}))
