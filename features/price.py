"""Features of one symbol's own price: TA-Lib's indicators, made free of the price's scale.

Each is defined once: an indicator and a formula over its outputs. Both are used for whole series
(`batch`) and bar by bar (`stream`), and TA-Lib's stream handles repeat its batch functions to the last
bit, so the two agree exactly. Formulas therefore hold to `+ - * /`, which IEEE 754 rounds one way only.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Series = npt.NDArray[np.float64]
Formula = Callable[[Any, Any], Any]


class Handle(Protocol):
    """A feature that is carried forward bar by bar."""

    def update(self, price: float) -> float:
        """The value at the bar that closed at `price` (finite); NaN while history is too short."""
        ...


@dataclass(frozen=True)
class PriceFeature:
    """`formula(outputs, price)` of TA-Lib's `function` over adjusted closes.

    `on_returns` feeds the function simple one-bar returns instead; `lag` takes the value from so many
    bars ago.
    """

    name: str
    function: str
    formula: Formula
    parameters: Mapping[str, float] = field(default_factory=dict)
    on_returns: bool = False
    lag: int = 0
    inputs: tuple[str, ...] = ("close",)

    @property
    def lookback(self) -> int:
        """Bars needed for the first value, that bar included."""
        from talib import abstract

        indicator = abstract.Function(self.function, **self.parameters)
        return int(indicator.lookback) + 1 + int(self.on_returns) + self.lag

    def definition(self) -> dict[str, Any]:
        """What determines its values; part of a feature set's hash."""
        return {
            "name": self.name,
            "function": self.function,
            "formula": self.formula.__name__,
            "parameters": dict(self.parameters),
            "on_returns": self.on_returns,
            "lag": self.lag,
            "inputs": list(self.inputs),
        }

    def batch(self, price: Series) -> Series:
        """Values over finite adjusted closes, float64 `[T]` to `[T]`; NaN until history suffices."""
        values = self._unlagged(price)
        if not self.lag:
            return values
        lagged = np.full_like(values, np.nan)
        lagged[self.lag :] = values[: -self.lag]
        return lagged

    def stream(self, history: Series) -> Handle:
        """A handle that stands after `history` (finite adjusted closes, float64 `[T]`)."""
        return _PriceHandle(self, history)

    def _unlagged(self, price: Series) -> Series:
        import talib

        if len(price) < self.lookback - self.lag:
            return np.full(len(price), np.nan)
        series = talib.ROCP(price, timeperiod=1) if self.on_returns else price
        outputs = getattr(talib, self.function)(series, **self.parameters)
        values: Series = self.formula(outputs, price)
        return values


class _PriceHandle:
    def __init__(self, feature: PriceFeature, history: Series) -> None:
        self._feature = feature
        self._lagged: deque[float] = deque(maxlen=feature.lag + 1)
        if feature.lag:
            self._lagged.extend(feature._unlagged(history)[-feature.lag :])
        self._waiting: list[float] | None = list(history)
        self._returns: Any = None
        self._indicator: Any = None
        self._open()

    def update(self, price: float) -> float:
        if self._waiting is not None:
            self._waiting.append(price)
            self._open()
            outputs = None if self._indicator is None else self._indicator.value
        else:
            outputs = self._indicator.update(price if self._returns is None else self._returns.update(price))
        value = math.nan if outputs is None else float(self._feature.formula(outputs, price))
        if not self._feature.lag:
            return value
        self._lagged.append(value)
        return self._lagged[0] if len(self._lagged) > self._feature.lag else math.nan

    def _open(self) -> None:
        import talib
        from talib import stream

        history = np.asarray(self._waiting, dtype=np.float64)
        feature = self._feature
        if len(history) < feature.lookback - feature.lag:
            return
        series = talib.ROCP(history, timeperiod=1) if feature.on_returns else history
        try:
            self._indicator = getattr(stream, feature.function)(series, **feature.parameters)
        except talib.InsufficientHistory:
            return
        self._returns = stream.ROCP(history, timeperiod=1) if feature.on_returns else None
        self._waiting = None


def as_it_is(output: Any, _: Any) -> Any:
    """The indicator's only output."""
    return output


def centred_index(output: Any, _: Any) -> Any:
    """An index from 0 to 100, as -1 to 1."""
    return (output - 50.0) / 50.0


def distance(output: Any, price: Any) -> Any:
    """How far the price stands above the indicator, as a share of the indicator."""
    return price / output - 1.0


def third_per_price(outputs: Any, price: Any) -> Any:
    """The third output as a share of the price (of MACD: the histogram)."""
    return outputs[2] / price


def place_in_bands(outputs: Any, price: Any) -> Any:
    """Where the price stands between lower (-0.5) and upper band (0.5); 0 if the bands coincide."""
    upper, middle, lower = outputs
    width = upper - lower
    if isinstance(price, np.ndarray):
        return np.divide(price - middle, width, out=np.zeros_like(price), where=width != 0)
    return (price - middle) / width if width != 0 else 0.0


def _return(bars: int) -> PriceFeature:
    return PriceFeature(f"return_{bars}", "ROCP", as_it_is, {"timeperiod": bars})


def _volatility(bars: int) -> PriceFeature:
    parameters = {"timeperiod": bars, "nbdev": 1.0}
    return PriceFeature(f"volatility_{bars}", "STDDEV", as_it_is, parameters, on_returns=True)


def _distance(name: str, function: str, bars: int) -> PriceFeature:
    return PriceFeature(f"distance_{name}_{bars}", function, distance, {"timeperiod": bars})


PRICE_FEATURES: tuple[PriceFeature, ...] = (
    *(_return(bars) for bars in (1, 5, 21, 63, 126)),
    # Twelve months without the last (Jegadeesh and Titman 1993).
    PriceFeature("momentum_252_21", "ROCP", as_it_is, {"timeperiod": 231}, lag=21),
    *(_volatility(bars) for bars in (10, 21, 63)),
    PriceFeature("rsi_14", "RSI", centred_index, {"timeperiod": 14}),
    PriceFeature(
        "macd_histogram",
        "MACD",
        third_per_price,
        {"fastperiod": 12, "slowperiod": 26, "signalperiod": 9},
    ),
    PriceFeature(
        "bollinger_20", "BBANDS", place_in_bands, {"timeperiod": 20, "nbdevup": 2.0, "nbdevdn": 2.0}
    ),
    _distance("sma", "SMA", 50),
    _distance("sma", "SMA", 200),
    _distance("high", "MAX", 252),
    _distance("low", "MIN", 252),
    _distance("kama", "KAMA", 10),
)
