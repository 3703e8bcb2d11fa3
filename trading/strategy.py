"""The registry of strategies: by name for the settings, by the digest of its code for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

import trading.strategies
from alphaloop.allocation import AllocationStrategy
from alphaloop.code_digest import module_digest
from alphaloop.decision.strategy import DIGITS_SHOWN, Strategy, StrategyIdentity
from alphaloop.errors import (
    AlphaloopError,
    ChainBrokenError,
    InputError,
    NotReplayableError,
    PluginError,
    SettingsError,
    UnknownNameError,
)
from alphaloop.plugins import Plugin, by_name, find_plugins
from alphaloop.settings.trading import TradingSettings
from alphaloop.settings.validation_messages import refusal_message

GROUP = "alphaloop.strategies"
BUILT_IN_DIGESTS: Mapping[str, frozenset[str]] = {
    "allocation": frozenset({"adfb9b9a01d1a565a217b0eab6efa4e12ee28bab5678c81e6cab11f75b36fa3a"}),
}
"""Code of the built-in strategies, past and present, that gives the weights of the present code.

Whoever edits a built-in strategy adds its new digest, if every decision stays the same. If not, the code of
before moves to `trading.rules`, and `trading.decision.CURRENT_RULE` is raised.
"""
ALLOCATION_SETTINGS = ("tilt", "rate", "band")
"""Settings of `trading` that belong to the strategy `allocation` alone."""


def strategy_names() -> list[str]:
    """List the names of all strategies, sorted.

    Examples
    --------
    >>> "allocation" in strategy_names()
    True
    """
    return sorted(_discover())


def find_strategy(name: str, parameters: Mapping[str, Any] | None = None) -> Strategy:
    """Return the strategy called `name`, with `parameters`.

    Parameters
    ----------
    name : str
        Name of the strategy, as `allocation`.
    parameters : mapping of str to object, optional
        Parameters that replace its defaults.

    Returns
    -------
    Strategy
        The strategy.

    Raises
    ------
    UnknownNameError
        For a strategy or a parameter that does not exist; the message lists the known ones.
    SettingsError
        For a parameter of an impossible value.
    PluginError
        For a strategy of the user's that cannot be used, or that has the name of another one.

    Examples
    --------
    >>> find_strategy("allocation", {"tilt": 1.0}).tilt
    1.0
    """
    strategies = _discover()
    if name not in strategies:
        raise UnknownNameError("strategy", name, strategies)
    return _make(strategies[name], parameters or {})


def configured_strategy(settings: TradingSettings) -> Strategy:
    """Return the strategy that `settings` names.

    Parameters
    ----------
    settings : TradingSettings
        `strategy` and `strategy_parameters`; for `allocation`, `tilt`, `rate`, `band` and `max_gross`.

    Returns
    -------
    Strategy
        The strategy that gate, rollouts, backtest and trading use.

    Raises
    ------
    SettingsError
        For settings of another strategy than the one that is named, and as `find_strategy` does.
    """
    chosen = find_strategy(settings.strategy, settings.strategy_parameters)
    if settings.strategy != AllocationStrategy.name:
        defaults = TradingSettings.model_fields
        for name in ALLOCATION_SETTINGS:
            if getattr(settings, name) != defaults[name].default:
                raise SettingsError(
                    f"trading.{name} belongs to the strategy '{AllocationStrategy.name}', and "
                    f"trading.strategy is '{settings.strategy}'; set trading.strategy_parameters instead"
                )
        return chosen
    for name in settings.strategy_parameters:
        raise SettingsError(
            f"trading.strategy_parameters has {name}, and the strategy '{AllocationStrategy.name}' is set by "
            "trading.tilt, trading.rate, trading.band and trading.max_gross; set it there"
        )
    return AllocationStrategy.from_settings(settings)


def recorded_strategy(identity: StrategyIdentity) -> Strategy:
    """Return the strategy that a journal recorded, with the code of then.

    Parameters
    ----------
    identity : StrategyIdentity
        Name, parameters and digest of a journaled decision.

    Returns
    -------
    Strategy
        The strategy, found among those built in, the user's files and those of other distributions.

    Raises
    ------
    NotReplayableError
        Where no strategy here has that name and that code.
    ChainBrokenError
        For parameters that this code cannot have had.
    """
    named = [strategy for strategy, _ in _candidates() if strategy.name == identity.name]
    for strategy in named:
        if identity.digest in {*_digests_of(strategy)}:
            try:
                return _make(strategy, identity.parameters)
            except InputError as error:
                raise ChainBrokenError(f"{identity} cannot have had its parameters: {error}") from error
    digests = ", ".join(module_digest(strategy.__module__)[:DIGITS_SHOWN] for strategy in named)
    known = f"the code of that name here has digest {digests}" if named else "none of that name is here"
    raise NotReplayableError(
        f"not replayable: {identity}: {known}; name the file of then in the setting plugins"
    )


def _digests_of(strategy: type[Strategy]) -> Iterator[str]:
    """Yield the digests of journals whose decisions `strategy` makes again."""
    yield module_digest(strategy.__module__)
    if strategy is AllocationStrategy:
        yield from BUILT_IN_DIGESTS[AllocationStrategy.name]
        # A decision of before digests were recorded.
        yield ""


def _discover() -> dict[str, type[Strategy]]:
    return by_name("strategies", ((one.name, one, plugin) for one, plugin in _candidates()))


def _candidates() -> Iterator[tuple[type[Any], Plugin]]:
    for plugin in find_plugins(trading.strategies, GROUP):
        if hasattr(plugin.module, "STRATEGY"):
            yield _checked(plugin.module.STRATEGY, plugin.origin), plugin


def _checked(strategy: Any, origin: str) -> type[Any]:
    if not (
        isinstance(strategy, type)
        and isinstance(getattr(strategy, "name", None), str)
        and callable(getattr(strategy, "weights", None))
    ):
        raise PluginError(
            f"STRATEGY of {origin} is no strategy; it is a class with a name, a text, and a method weights"
        )
    if is_dataclass(strategy) and not strategy.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise PluginError(f"STRATEGY of {origin} can change; make it a frozen dataclass")
    return strategy


def _make(strategy: type[Any], parameters: Mapping[str, Any]) -> Strategy:
    known = [field.name for field in fields(strategy)] if is_dataclass(strategy) else []
    for name in parameters:
        if name not in known:
            raise UnknownNameError("parameter", name, known, where=f"strategy '{strategy.name}'")
    try:
        made = TypeAdapter(strategy).validate_python(dict(parameters)) if known else strategy()
    except AlphaloopError:
        raise
    except ValidationError as error:
        first = error.errors()[0]
        place = ("trading", "strategy_parameters", *first["loc"])
        raise SettingsError(refusal_message({**first, "loc": place})) from error
    except Exception as error:
        # Whatever foreign code raises, the message names the strategy.
        raise SettingsError(
            f"strategy '{strategy.name}' cannot be made: {type(error).__name__}: {error}"
        ) from error
    return made  # type: ignore[no-any-return]
