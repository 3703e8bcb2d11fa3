"""The broker: where orders go and fills come from. One file a broker in `trading.brokers`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from typing import Protocol

import trading.brokers
from alphaloop.bars import Slice
from alphaloop.costs import CostModel
from alphaloop.errors import UnknownNameError
from alphaloop.orders import Fill, Order
from trading.execution.corporate_actions import Entitled


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
    """The brokers that are installed: the modules of `trading.brokers` that define `BROKER`."""
    modules = pkgutil.iter_modules(trading.brokers.__path__)
    return sorted(module.name for module in modules if _factory(module.name) is not None)


def find(name: str) -> BrokerFactory:
    """The broker called `name`; raises `UnknownNameError` if there is none."""
    known = {module.name for module in pkgutil.iter_modules(trading.brokers.__path__)}
    factory = _factory(name) if name in known else None
    if factory is None:
        raise UnknownNameError("broker", name, names())
    return factory


def _factory(name: str) -> BrokerFactory | None:
    return getattr(importlib.import_module(f"trading.brokers.{name}"), "BROKER", None)
