"""Brokers: found by their file, and the paper broker fills once, honestly."""

from __future__ import annotations

import sys
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

import trading.brokers
from alphaloop.costs import CostModel
from alphaloop.errors import UnknownNameError
from alphaloop.orders import Order, Side
from trading.broker import broker_names, find_broker
from trading.brokers.paper import PaperBroker

NEW_BROKER = '''
"""A venue that gives everything away at one."""
from decimal import Decimal
from alphaloop.orders import Fill

class Generous:
    def __init__(self, costs):
        self.orders = {}

    def submit(self, orders):
        self.orders.update((order.client_order_id, order) for order in orders)

    def on_bar(self, bars):
        fills = [
            Fill(name, order.symbol, order.side, order.quantity, Decimal(1), Decimal(0), bars.timestamp)
            for name, order in self.orders.items()
        ]
        self.orders = {}
        return fills

BROKER = Generous
'''


@pytest.fixture
def brokers_folder(tmp_path, monkeypatch):
    """A folder whose modules are brokers as well."""
    folder = tmp_path / "brokers"
    folder.mkdir()
    monkeypatch.setattr(trading.brokers, "__path__", [*trading.brokers.__path__, str(folder)])
    yield folder
    for name in [name for name in sys.modules if name.startswith("trading.brokers.")]:
        if name != "trading.brokers.paper":
            del sys.modules[name]
            delattr(trading.brokers, name.rpartition(".")[2])


def test_one_file_adds_a_broker(brokers_folder, make_bars, make_rig):
    """A module that defines BROKER is found by name, and the engine trades through it."""
    (brokers_folder / "generous.py").write_text(NEW_BROKER)
    (brokers_folder / "notes.py").write_text('"""No broker here."""\n')
    assert broker_names() == ["generous", "paper"]
    rig = make_rig(make_bars(), broker=find_broker("generous")(CostModel()))
    outcomes = rig.run(0, 3)
    assert [fill.price for fill in outcomes[1].fills] == [1] * 5
    with pytest.raises(UnknownNameError, match="'notes'; known: generous, paper"):
        find_broker("notes")


def test_an_unknown_broker_is_named_with_those_that_exist():
    """The error says what was asked for and what there is."""
    assert find_broker("paper") is PaperBroker
    with pytest.raises(UnknownNameError, match="unknown broker 'papper'; known: paper"):
        find_broker("papper")


def _order(bars, quantity="3", side=Side.BUY, name="al-1"):
    return Order(name, "S01", side, Decimal(quantity), bars.at(0).timestamp, "d1")


def test_an_order_is_filled_once_however_often_it_is_sent(make_bars):
    """Sent again before or after its fill, an order is filled once, and its cost is booked unrounded."""
    bars = make_bars()
    broker = PaperBroker(CostModel(1, 4))
    broker.submit([_order(bars), _order(bars)])
    assert broker.on_bar(bars.at(0)) == []
    (fill,) = broker.on_bar(bars.at(1))
    broker.submit([_order(bars)])
    assert broker.on_bar(bars.at(2)) == []
    assert fill.quantity == 3
    assert fill.cost == (fill.price * 3 * Decimal("0.0005")).quantize(Decimal("1e-8"))
    assert broker.cash == -fill.price * 3 - fill.cost
    broker.submit([_order(bars, side=Side.SELL, name="al-2")])
    (back,) = broker.on_bar(bars.at(2))
    assert broker.positions["S01"] == 0
    assert broker.cash == (back.price - fill.price) * 3 - fill.cost - back.cost


def test_an_order_waits_for_a_price(make_bars):
    """A symbol that does not trade, or is not among the bars, is not filled at an invented price."""
    bars = make_bars()
    bars.close[1, 1] = np.nan
    broker = PaperBroker(CostModel())
    broker.submit([_order(bars)])
    assert broker.on_bar(bars.at(1)) == []
    assert broker.on_bar(bars.select(("S00",)).at(2)) == []
    (fill,) = broker.on_bar(bars.at(3))
    assert fill.filled_at == bars.at(0).timestamp + timedelta(days=3)
