"""Three lines for a notebook: bars of a source, features by name or formula, a data frame.

from features.notebook import bars, features
prices = bars("us-tech-ohlcv", "AAPL", "MSFT", start="2010-01-01")
features(prices, "rsi(14)", "trend = close / sma(50) - 1", "macd.macdhist")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from alphaloop.market import BarPanel
from features.indicator import Indicator

if TYPE_CHECKING:
    import pandas as pd


def bars(source: str, *symbols: str, start: str = "", end: str = "", frequency: str = "1d") -> BarPanel:
    """Bars of `symbols` (all if none are named) of the source called `source`, from day to day.

    Days are written as 2010-01-31 and are of UTC. Raises `UnknownNameError` for a source or symbol that
    does not exist.
    """
    from features.sources.registry import find

    table = find(source).history(symbols, _day(start), _day(end), frequency)
    return BarPanel.from_table(table)


def features(
    panel: BarPanel,
    *names: str,
    formulas: Mapping[str, str] | None = None,
    indicators: Iterable[Indicator] = (),
) -> pd.DataFrame:
    """Features of every bar, float32, by timestamp and symbol; the named features where none are asked for.

    `names` are features, indicators or formulas (`name = formula`); see `features.sets.FeatureSet`.
    """
    import pandas as pd

    from features.build import backfill
    from features.named import NAMED
    from features.sets import FeatureSet

    frame = backfill(panel, FeatureSet(names or tuple(NAMED), formulas, indicators))
    index = pd.MultiIndex.from_product(
        [pd.DatetimeIndex(frame.timestamps, tz="UTC"), frame.symbols], names=["timestamp", "symbol"]
    )
    return pd.DataFrame(frame.values.reshape(-1, len(frame.names)), index=index, columns=list(frame.names))


def _day(text: str) -> datetime | None:
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
