"""The named features, against TA-Lib called by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import talib

from alphaloop.bars import BarPanel
from alphaloop.errors import UnknownNameError
from features import catalogue
from features.default_features import NAMED_FEATURES
from features.engine.columns import contiguous_columns
from features.engine.graph import Column, Graph
from features.engine.indicator import Indicator
from features.engine.operator import Axes
from features.formula.compiler import Compiler
from features.formula.parser import parse_formula
from features.formula.syntax import Formula

Values = npt.NDArray[np.float64]


def _by_symbol(function: Callable[[Values], Values]) -> Callable[[Values], Values]:
    return lambda closes: np.column_stack([function(np.ascontiguousarray(one)) for one in closes.T])


def _bollinger(close: Values) -> Values:
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0)
    width = upper - lower
    return np.divide(close - middle, width, out=np.zeros_like(close), where=width != 0)


def _lagged(close: Values) -> Values:
    values = np.full_like(close, np.nan)
    values[21:] = talib.ROCP(close, timeperiod=231)[:-21]
    return values


def _rank(values: Values) -> Values:
    """Twice the mean place of each among its row, less the middle, by counting."""
    ranks = np.full_like(values, np.nan)
    for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
        others = values[row][np.isfinite(values[row])]
        below, above = (others < values[row, column]).sum(), (others > values[row, column]).sum()
        ranks[row, column] = (below - above) / max(len(others) - 1, 1)
    return ranks


def _spread_out(values: Values, function: Callable[[Values], float]) -> Values:
    """A number of each row's finite values, at every symbol that has one."""
    spread = np.full_like(values, np.nan)
    for row in np.flatnonzero(np.isfinite(values).any(axis=1)):
        here = np.isfinite(values[row])
        spread[row, here] = function(values[row, here])
    return spread


ALONE: dict[str, Callable[[Values], Values]] = {
    "return_1": lambda close: talib.ROCP(close, timeperiod=1),
    "return_5": lambda close: talib.ROCP(close, timeperiod=5),
    "return_21": lambda close: talib.ROCP(close, timeperiod=21),
    "return_63": lambda close: talib.ROCP(close, timeperiod=63),
    "return_126": lambda close: talib.ROCP(close, timeperiod=126),
    "momentum_252_21": _lagged,
    "volatility_10": lambda close: talib.STDDEV(talib.ROCP(close, timeperiod=1), timeperiod=10, nbdev=1.0),
    "volatility_21": lambda close: talib.STDDEV(talib.ROCP(close, timeperiod=1), timeperiod=21, nbdev=1.0),
    "volatility_63": lambda close: talib.STDDEV(talib.ROCP(close, timeperiod=1), timeperiod=63, nbdev=1.0),
    "rsi_14": lambda close: (talib.RSI(close, timeperiod=14) - 50.0) / 50.0,
    "macd_histogram": lambda close: talib.MACD(close, 12, 26, 9)[2] / close,
    "bollinger_20": _bollinger,
    "distance_sma_50": lambda close: close / talib.SMA(close, timeperiod=50) - 1.0,
    "distance_sma_200": lambda close: close / talib.SMA(close, timeperiod=200) - 1.0,
    "distance_high_252": lambda close: close / talib.MAX(close, timeperiod=252) - 1.0,
    "distance_low_252": lambda close: close / talib.MIN(close, timeperiod=252) - 1.0,
    "distance_kama_10": lambda close: close / talib.KAMA(close, timeperiod=10) - 1.0,
}
AMONG: dict[str, tuple[str, Callable[[Values], Values]]] = {
    "rank_momentum_252_21": ("momentum_252_21", _rank),
    "rank_return_5": ("return_5", _rank),
    "rank_return_21": ("return_21", _rank),
    "rank_volatility_21": ("volatility_21", _rank),
    "rank_rsi_14": ("rsi_14", _rank),
    "market_breadth_50": (
        "distance_sma_50",
        lambda values: _spread_out(values, lambda row: np.mean(row > 0) - 0.5),
    ),
    "market_volatility_21": ("volatility_21", lambda values: _spread_out(values, np.median)),
}


def _resolve(name: str) -> Indicator | Formula:
    if name in NAMED_FEATURES:
        return parse_formula(f"{name} = {NAMED_FEATURES[name].formula}")
    try:
        return catalogue.find_indicator(name)
    except UnknownNameError as error:
        raise UnknownNameError("feature", name, (*error.known, *NAMED_FEATURES)) from error


def _column(name: str) -> Column:
    return Compiler(_resolve).compile(parse_formula(name)).column


def _computed(name: str, bars: BarPanel) -> Values:
    graph = Graph([_column(name)])
    axes = Axes(bars.timestamps, bars.symbols)
    return next(values for _, values in graph.batch(contiguous_columns(bars, graph.inputs), axes))


def _direct(name: str, bars: BarPanel) -> Values:
    of, function = AMONG.get(name, (name, lambda values: values))
    return function(_by_symbol(ALONE[of])(contiguous_columns(bars, ["close"])["close"]))


@pytest.mark.parametrize("name", [*ALONE, *AMONG])
def test_a_named_feature_is_what_talib_gives(real_bars: BarPanel, name: str) -> None:
    """Every named feature has the very bits of its definition, written out in TA-Lib and numpy."""
    found, expected = _computed(name, real_bars), _direct(name, real_bars)
    assert np.array_equal(found, expected, equal_nan=True)
    assert np.isfinite(found).sum() > len(real_bars.symbols)


def test_the_named_features_keep_their_order() -> None:
    """Models know features by place: own features first, then those among others."""
    assert tuple(NAMED_FEATURES) == (*ALONE, *AMONG)


def test_every_named_feature_is_exact_and_described() -> None:
    """Batch and stream agree to the last bit for each, and each says what it is."""
    for name, feature in NAMED_FEATURES.items():
        assert _column(name).exact, name
        assert feature.description.endswith("."), name


def test_the_place_in_bands_that_coincide_is_zero(real_bars: BarPanel) -> None:
    """With a constant price the Bollinger bands are one line, and the price stands at 0 in it."""
    graph = Graph([_column("bollinger_20")])
    flat = np.full((30, 1), 8.0)
    axes = Axes(real_bars.timestamps[:30], ("FLAT",))
    (values,) = (one for _, one in graph.batch({"close": flat}, axes))
    assert np.isnan(values[:19]).all()
    assert (values[19:] == 0).all()


@pytest.mark.parametrize("name", NAMED_FEATURES)
def test_a_named_feature_is_the_same_bar_by_bar(real_bars: BarPanel, name: str) -> None:
    """Carried on from any bar, before or after its first value, each gives the batch's bits."""
    graph = Graph([_column(name)])
    inputs = contiguous_columns(real_bars, graph.inputs)
    whole = _computed(name, real_bars)
    for start in (15, 300):
        past = Axes(real_bars.timestamps[:start], real_bars.symbols)
        handle = graph.stream({key: values[:start] for key, values in inputs.items()}, past)
        for row in range(start, start + 200):
            (values,) = handle.update(
                {key: values[row] for key, values in inputs.items()}, real_bars.timestamps[row]
            )
            assert np.array_equal(values, whole[row], equal_nan=True), row
