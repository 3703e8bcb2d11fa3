"""Recovery: an engine restarted from its journal goes on as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alphaloop.costs import CostModel
from alphaloop.errors import InputError
from trading.brokers.paper import PaperBroker
from trading.recovery import restore_engine
from trading.risk.risk_check import RiskLimits


@pytest.mark.parametrize("broker", ["paper", "slow"])
def test_a_restart_after_any_bar_changes_nothing(make_bars, make_rig, slow_broker, broker):
    """Restarted after every single bar, the engine decides the same orders and ends at the same equity."""
    bars = make_bars(count=14)
    steady = make_rig(bars, name="steady", broker=slow_broker if broker == "slow" else None)
    expected = steady.run(0, 14)
    other = type(slow_broker)(steady.costs) if broker == "slow" else None
    rig = make_rig(bars, broker=other)
    outcomes = []
    for index in range(14):
        assert rig.run(index, index + 1)[0].equity == expected[index].equity
        last = rig.engine.last
        rig.start()
        again = restore_engine(rig.engine, rig.records())
        assert {order.client_order_id for order in again} == set(steady_open(rig))
        assert replace(rig.engine.last, fills=last.fills) == last
        outcomes.append(last)
    assert outcomes == expected
    assert rig.engine.portfolio.books == steady.engine.portfolio.books


def steady_open(rig):
    """The ids of the orders that the engine waits for."""
    return list(rig.engine.portfolio.working)


def test_a_crash_between_journal_and_broker_is_made_good(make_bars, make_rig):
    """An order that was journaled and never sent is sent by the restart, under the same id."""
    bars = make_bars()
    rig, control = make_rig(bars), make_rig(bars, name="control")
    rig.run(0, 3)
    rig.broker.submit = lambda orders: None
    (outcome,) = rig.run(3, 4)
    del rig.broker.submit
    rig.start()
    again = restore_engine(rig.engine, rig.records())
    assert again == list(outcome.orders)
    control.run(0, 8)
    assert rig.run(4, 8)[-1].equity == control.engine.last.equity


def test_a_broker_without_memory_gets_only_what_is_open(make_bars, make_rig):
    """A paper broker that is new after a restart fills each open order once and no filled one again."""
    bars = make_bars()
    bars.close[5, 1] = float("nan")
    rig, control = make_rig(bars), make_rig(bars, name="control")
    rig.run(0, 6)
    rig.broker = PaperBroker(rig.costs)
    rig.start()
    again = restore_engine(rig.engine, rig.records())
    assert "S01" in {order.symbol for order in again}
    control.run(0, 9)
    assert rig.run(6, 9)[-1].equity == control.engine.last.equity


def test_crosses_that_wait_for_a_price_survive_a_restart(make_bars, make_rig, divided):
    """What sleeves were to cross is still crossed after a restart, once."""
    bars, scores = make_bars(symbols=2), np.zeros((40, 2))
    bars.close[:6] = 100.0
    scores[4:] = [1.0, -1.0]
    forecaster = divided(bars, challengers=1, scores=scores)
    free = {
        "sleeves": 2,
        "forecaster": forecaster,
        "costs": CostModel(0, 0),
        "limits": RiskLimits(max_weight=1),
    }
    rig, control = make_rig(bars, **free), make_rig(bars, name="control", **free)
    restarts = 0
    for index in range(25):
        rig.run(index, index + 1)
        if rig.engine.portfolio.crossing:
            restarts += 1
            rig.start()
            restore_engine(rig.engine, rig.records())
    control.run(0, 25)
    assert restarts > 0
    assert rig.engine.portfolio.books == control.engine.portfolio.books
    assert len(rig.records("cross")) == len(control.records("cross"))


def test_an_empty_journal_restores_nothing(make_bars, make_rig):
    """A fresh stream leaves the engine as it is, and other kinds of records are passed over."""
    rig = make_rig(make_bars())
    rig.writer.append("note", {"text": "hello"})
    assert restore_engine(rig.engine, rig.records()) == []
    assert rig.engine.last is None


def test_another_book_is_refused(make_bars, make_rig):
    """A journal of other sleeves is not taken for this book's."""
    rig = make_rig(make_bars())
    rig.run(0, 2)
    records = rig.records()
    rig.sleeves = 5
    with pytest.raises(InputError, match="alphaloop book carry"):
        restore_engine(rig.start(), records)
