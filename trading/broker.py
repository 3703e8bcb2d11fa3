"""Brokers: the interface to send orders and receive fills, and the registry of brokers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Protocol

import trading.brokers
from alphaloop.bars import Slice
from alphaloop.costs import CostModel
from alphaloop.errors import UnknownNameError
from alphaloop.orders import Fill, Order
from alphaloop.plugins import by_name, find_plugins
from trading.execution.corporate_actions import BookedCorporateAction
from trading.execution.instrument_terms import NO_TERMS, InstrumentTerms

GROUP = "alphaloop.brokers"


class Broker(Protocol):
    """A venue that takes orders and reports their fills; one file each in `trading.brokers`.

    To add a broker, implement these three methods and define the class as `BROKER` in a module of
    `trading.brokers`.
    """

    def submit(self, orders: Sequence[Order]) -> None:
        """Take orders, except those with an id that was taken before.

        So a retry cannot double an order.

        Parameters
        ----------
        orders : sequence of Order
            Market orders for the next obtainable price.
        """
        ...

    def apply_action(self, action: BookedCorporateAction) -> None:
        """Apply a corporate action that takes effect before the next fills.

        A venue that converts orders by itself does nothing.

        Parameters
        ----------
        action : BookedCorporateAction
            The action; `action.orders` are the remaining open orders of the symbol, in new units. Its other
            open orders are cancelled.
        """
        ...

    def on_bar(self, bars: Slice) -> list[Fill]:
        """Return the fills since the last call, each once.

        Parameters
        ----------
        bars : Slice
            The bars that have just closed, later than the decisions of the open orders.

        Returns
        -------
        list of Fill
            Fills in order of time.
        """
        ...


class BrokerFactory(Protocol):
    """The value that a broker's module defines as `BROKER`, usually the class itself."""

    def __call__(self, costs: CostModel) -> Broker:
        """Open the broker; `costs` are used by brokers that simulate fills.

        A factory may also have a parameter `terms`, the lots and ticks of the instruments.
        """
        ...


def broker_names() -> list[str]:
    """List the installed brokers: the plug-ins that define `BROKER`, sorted."""
    return sorted(_discover())


def find_broker(name: str) -> BrokerFactory:
    """Return the factory of the broker called `name`.

    Parameters
    ----------
    name : str
        Name of the broker, as `paper`.

    Returns
    -------
    BrokerFactory
        A callable that opens the broker with a cost model.

    Raises
    ------
    UnknownNameError
        For a name that no broker has; the message lists the known names.

    Examples
    --------
    >>> find_broker("paper").__name__
    'PaperBroker'
    """
    brokers = _discover()
    if name not in brokers:
        raise UnknownNameError("broker", name, brokers)
    return brokers[name]


def open_broker(name: str, costs: CostModel, terms: InstrumentTerms = NO_TERMS) -> Broker:
    """Open the broker called `name`.

    Parameters
    ----------
    name : str
        Name of the broker.
    costs : CostModel
        Costs of simulated fills.
    terms : InstrumentTerms
        Lots and ticks, for a broker that takes them: its factory has a parameter `terms`.

    Returns
    -------
    Broker
        The open broker.

    Raises
    ------
    UnknownNameError
        For a name that no broker has.
    """
    factory = find_broker(name)
    if "terms" in inspect.signature(factory).parameters:
        return factory(costs, terms=terms)  # type: ignore[call-arg]
    return factory(costs)


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
