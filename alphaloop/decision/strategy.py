"""Strategies: from what is known at a bar's close to the weights to hold after it.

Gate, rollout books, backtest, paper and live trading call the same strategy through `strategy_weights`, and
the journal names it by its `StrategyIdentity`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from alphaloop.code_digest import module_digest
from alphaloop.errors import InputError, StrategyError

Vector = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
TargetWeights = npt.ArrayLike | Mapping[str, float]

MIN_WEIGHT = -1e-9
"""Smallest weight that passes for zero; anything less is a short position."""
DIGITS_SHOWN, MAX_SYMBOLS_SHOWN = 12, 8


@dataclass(frozen=True, slots=True)
class StrategyView:
    """Everything that a strategy sees of one bar and one book.

    The arrays are read-only, in the order of `symbols`.

    Parameters
    ----------
    as_of : datetime
        Close of the bar that was scored, in UTC.
    symbols : tuple of str
        The symbols of the book.
    scores : ndarray of float64, shape [symbols]
        Scores of the model; NaN where a symbol has none.
    current : ndarray of float64, shape [symbols]
        Weights before the trade, as shares of the book's equity.
    """

    as_of: datetime
    symbols: tuple[str, ...]
    scores: Vector
    current: Vector

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", _read_only(self.scores))
        object.__setattr__(self, "current", _read_only(self.current))

    def only(self, indices: npt.NDArray[np.intp]) -> StrategyView:
        """Return the view of the symbols at `indices` alone."""
        symbols = tuple(self.symbols[index] for index in indices.tolist())
        return StrategyView(self.as_of, symbols, self.scores[indices], self.current[indices])


class Strategy(Protocol):
    """A pure function from a view to weights; its parameters are the fields of a frozen dataclass.

    It reads no clock, no file and no network and keeps no state, so that a journaled decision can be made
    again. To add a strategy, define the class as `STRATEGY` in a module of `trading.strategies`, in a file
    that the setting `plugins` names, or in a distribution (entry point group `alphaloop.strategies`).
    """

    @property
    def name(self) -> str:
        """Name by which the setting `trading.strategy` chooses the strategy."""
        ...

    def weights(self, view: StrategyView) -> TargetWeights:
        """Compute the weights to hold after this bar's trade.

        Parameters
        ----------
        view : StrategyView
            Scores and current weights.

        Returns
        -------
        array_like of float, shape [symbols], or mapping of str to float
            Weights as shares of equity, finite and not negative. Of a mapping, symbols that it leaves out
            are not held.
        """
        ...


@dataclass(frozen=True, slots=True)
class StrategyIdentity:
    """Name, parameters and code of a strategy, as the journal and the model card record them.

    Parameters
    ----------
    name : str
        Name of the strategy.
    parameters : mapping of str to object
        Its parameters as JSON values.
    digest : str
        `alphaloop.code_digest` of its file; empty where none was recorded, and for code in no file.
    """

    name: str
    parameters: Mapping[str, Any]
    digest: str = ""

    @classmethod
    def of(cls, strategy: Strategy) -> StrategyIdentity:
        """Return the identity of `strategy`.

        Raises
        ------
        InputError
            For a parameter that is no JSON value.
        """
        fields: dict[str, Any] = (
            asdict(strategy) if is_dataclass(strategy) and not isinstance(strategy, type) else {}
        )
        try:
            parameters = json.loads(json.dumps(fields, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"strategy '{strategy.name}' has a parameter that no journal can hold: {error}; parameters "
                "are finite numbers, texts, truth values, and lists and tables of these"
            ) from error
        return cls(strategy.name, parameters, module_digest(type(strategy).__module__))

    def to_body(self) -> dict[str, Any]:
        """Return the identity as plain values."""
        return {"name": self.name, "parameters": dict(self.parameters), "digest": self.digest}

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> StrategyIdentity:
        """Restore what `to_body` returned."""
        return cls(str(body["name"]), dict(body["parameters"]), str(body["digest"]))

    def __str__(self) -> str:
        return f"strategy {self.name} of digest {self.digest[:DIGITS_SHOWN]}"


def strategy_weights(strategy: Strategy, view: StrategyView, outside: Flags | None = None) -> Vector:
    """Compute the weights of `strategy`, and refuse those that no book can hold.

    Limits of a book are not checked here, because their excess is clipped and not refused
    (`alphaloop.decision.book_limits`).

    Parameters
    ----------
    strategy : Strategy
        The strategy.
    view : StrategyView
        Scores and current weights.
    outside : ndarray of bool, shape [symbols], optional
        Symbols that are not members of the universe (`alphaloop.universe_mask`). The strategy does not see
        them, and they are not held.

    Returns
    -------
    ndarray of float64, shape [symbols]
        Weights in the order of `view.symbols`, finite and not negative.

    Raises
    ------
    StrategyError
        Where the strategy fails, weighs a symbol that is not in the view, or gives a weight that is negative
        or not finite; the message names the strategy and the symbol.

    Examples
    --------
    >>> from datetime import UTC
    >>> class Best:
    ...     name = "best"
    ...
    ...     def weights(self, view):
    ...         return {view.symbols[int(np.argmax(view.scores))]: 1.0}
    >>> friday = datetime(2020, 3, 13, 20, tzinfo=UTC)
    >>> view = StrategyView(friday, ("AAPL", "IBM"), np.array([0.1, 0.3]), np.zeros(2))
    >>> strategy_weights(Best(), view).tolist()
    [0.0, 1.0]
    """
    if outside is not None and outside.any():
        members = np.flatnonzero(~outside)
        held = np.zeros(len(view.symbols))
        if len(members):
            held[members] = strategy_weights(strategy, view.only(members))
        return held
    try:
        weights = _in_order(strategy.weights(view), view.symbols)
    except StrategyError as error:
        raise StrategyError(f"strategy '{strategy.name}' {error}") from error.__cause__
    except Exception as error:
        # Whatever foreign code raises, the book keeps what it holds, and the message names the strategy.
        raise StrategyError(
            f"strategy '{strategy.name}' failed on the bar of {view.as_of.isoformat()}: "
            f"{type(error).__name__}: {error}"
        ) from error
    # Two passes that find NaN too; every sleeve and bar comes by here.
    if weights.size and weights.min() >= 0.0 and weights.max() < np.inf:
        return weights
    for symbol, weight in zip(view.symbols, weights.tolist(), strict=True):
        if not MIN_WEIGHT <= weight < np.inf:
            raise StrategyError(
                f"strategy '{strategy.name}' gives {symbol} the weight {weight:g}; weights are finite and "
                "not negative"
            )
    return np.maximum(weights, 0.0)


def _in_order(weights: TargetWeights, symbols: tuple[str, ...]) -> Vector:
    """Return `weights` in the order of `symbols`."""
    if isinstance(weights, Mapping):
        unknown = sorted(str(symbol) for symbol in weights if symbol not in symbols)
        if unknown:
            shown = ", ".join(symbols[:MAX_SYMBOLS_SHOWN])
            more = ", …" if len(symbols) > MAX_SYMBOLS_SHOWN else ""
            raise StrategyError(f"weighs {unknown[0]}, which is no symbol of the book: {shown}{more}")
        weights = [weights.get(symbol, 0.0) for symbol in symbols]
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (len(symbols),):
        raise StrategyError(
            f"gives weights of the shape {values.shape} for {len(symbols)} symbols; one weight a symbol, in "
            "the order of the view, or a mapping from symbols to weights"
        )
    return values


def _read_only(values: Vector) -> Vector:
    array = np.asarray(values, dtype=np.float64).view()
    array.flags.writeable = False
    return array
