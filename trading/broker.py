"""The broker: where orders go and fills come from. One file a broker in `trading.brokers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trading.brokers
from alphaloop.bars import Slice
from alphaloop.costs import CostModel
from alphaloop.errors import UnknownNameError
from alphaloop.orders import Fill, Order
from alphaloop.plugins import by_name, find_plugins
from trading.execution.corporate_actions import Entitled

GROUP = "alphaloop.brokers"


class Broker(Protocol):
    """Takes orders and reports their fills."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Take `orders`. An id that was taken before is ignored, so that a retry cannot double an order."""
        ...

    def follow(self, action: Entitled) -> None:
        """Follow a corporate action that takes effect before the next fills.

        `action.orders` are what is left of the symbol's open orders, in new units; others of the symbol
        are dropped. A venue that converts orders by itself has nothing to do.
        """
        ...

    def on_bar(self, bars: Slice) -> list[Fill]:
        """The fills since the last call, each reported once; `bars` came after the orders were decided."""
        ...


class BrokerFactory(Protocol):
    """What a broker's module defines as `BROKER`: usually the class itself."""

    def __call__(self, costs: CostModel) -> Broker:
        """Open the broker; `costs` are booked by those that simulate fills."""
        ...


def names() -> list[str]:
    """Return the names of the brokers that are installed, sorted: modules that define `BROKER`."""
    return sorted(_discover())


def find(name: str) -> BrokerFactory:
    """The broker called `name`; raises `UnknownNameError` if there is none."""
    brokers = _discover()
    if name not in brokers:
        raise UnknownNameError("broker", name, brokers)
    return brokers[name]


def _discover() -> dict[str, BrokerFactory]:
    plugins = find_plugins(trading.brokers, GROUP)
    return by_name(
        "brokers",
        (
            (plugin.name, plugin.module.BROKER, plugin)
            for plugin in plugins
            if hasattr(plugin.module, "BROKER")
        ),
    )
