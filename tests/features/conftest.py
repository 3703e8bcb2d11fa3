"""Real bars, few enough to be quick, and the parts that tests of this room share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from alphaloop.clock import ReplayClock
from alphaloop.market import BarPanel
from features.sources.registry import find

SYMBOLS = ("AAPL", "BAC", "JNJ", "KO", "RRC", "XOM")
START = datetime(2018, 1, 1, tzinfo=UTC)
END = datetime(2019, 12, 31, 23, tzinfo=UTC)


@pytest.fixture(scope="session")
def real_bars() -> BarPanel:
    """Two years of six real symbols, 503 bars."""
    return BarPanel.from_table(find("sp500-20").history(SYMBOLS, START, END), SYMBOLS)


@pytest.fixture(scope="session")
def simulated_bars() -> BarPanel:
    """The first 420 bars of the simulated universe, all 20 symbols."""
    bars = BarPanel.from_table(find("simulated").history(()))
    return bars.between(end=bars.at(419).timestamp)


@pytest.fixture(scope="session")
def table(real_bars: BarPanel) -> pa.Table:
    """The real bars as rows."""
    return real_bars.to_table()


@pytest.fixture
def clock(real_bars: BarPanel) -> ReplayClock:
    """A clock at the last real bar."""
    return ReplayClock(real_bars.at(len(real_bars) - 1).timestamp)


@pytest.fixture(scope="session")
def with_closes() -> Callable[[BarPanel, np.ndarray], BarPanel]:
    """The same bars with other closes `[T, N]`."""
    from features.source import close_only

    return lambda bars, close: close_only(bars.timestamps, bars.symbols, close)
