"""Named features: the formulas of the default feature set, in its order.

Each is independent of the price's scale, so that symbols can be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class NamedFeature:
    """A formula and its one-line description."""

    formula: str
    description: str


def _return(bars: int) -> NamedFeature:
    return NamedFeature(f"rocp({bars})", f"Return over {bars} bar{'s' if bars > 1 else ''}.")


def _volatility(bars: int) -> NamedFeature:
    return NamedFeature(
        f"stddev(rocp(1), {bars}, 1)", f"Standard deviation of one-bar returns over {bars} bars."
    )


def _distance(indicator: str, what: str) -> NamedFeature:
    return NamedFeature(f"close / {indicator} - 1", f"How far the close is above {what}, as a share of it.")


def _rank(name: str) -> NamedFeature:
    return NamedFeature(
        f"rank({name})", f"Rank of `{name}` in the universe, from -1 (lowest) to 1 (highest)."
    )


NAMED_FEATURES: Mapping[str, NamedFeature] = MappingProxyType(
    {
        **{f"return_{bars}": _return(bars) for bars in (1, 5, 21, 63, 126)},
        "momentum_252_21": NamedFeature(
            "lag(rocp(231), 21)",
            "Return over twelve months without the last (Jegadeesh and Titman 1993).",
        ),
        **{f"volatility_{bars}": _volatility(bars) for bars in (10, 21, 63)},
        "rsi_14": NamedFeature("(rsi(14) - 50) / 50", "Relative strength index, from -1 to 1."),
        "macd_histogram": NamedFeature(
            "macd(12, 26, 9).macdhist / close", "Histogram of MACD as a share of the close."
        ),
        "bollinger_20": NamedFeature(
            "where(bbands(20, 2, 2).upperband == bbands(20, 2, 2).lowerband, 0, "
            "(close - bbands(20, 2, 2).middleband) "
            "/ (bbands(20, 2, 2).upperband - bbands(20, 2, 2).lowerband))",
            "Place between the lower (-0.5) and the upper Bollinger band (0.5); 0 where they coincide.",
        ),
        "distance_sma_50": _distance("sma(50)", "its mean of 50 bars"),
        "distance_sma_200": _distance("sma(200)", "its mean of 200 bars"),
        "distance_high_252": _distance("max(252)", "its highest of 252 bars (0 at most)"),
        "distance_low_252": _distance("min(252)", "its lowest of 252 bars"),
        "distance_kama_10": _distance("kama(10)", "its Kaufman adaptive mean of 10 bars"),
        **{
            f"rank_{name}": _rank(name)
            for name in ("momentum_252_21", "return_5", "return_21", "volatility_21", "rsi_14")
        },
        "market_breadth_50": NamedFeature(
            "breadth(distance_sma_50)",
            "Share of the universe above its mean of 50 bars, less a half.",
        ),
        "market_volatility_21": NamedFeature(
            "median(volatility_21)", "Median volatility of the universe over 21 bars."
        ),
    }
)
