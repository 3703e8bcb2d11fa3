"""What formulas give: columns of the graph, the same in batch and stream, and nothing from later bars."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import talib

from features.engine.graph import Graph
from features.engine.operator import Axes

from .formula_language import understood

Matrix = npt.NDArray[np.float64]
SYMBOLS = ("A", "B", "C", "D", "E")
BARS = 90


@pytest.fixture(scope="module")
def bars() -> dict[str, Matrix]:
    """Random walks with gaps, with a benchmark and sectors (one symbol's unknown)."""
    chance = np.random.default_rng(5)
    close = np.exp(chance.normal(0, 0.02, (BARS, len(SYMBOLS))).cumsum(axis=0)) * 100
    wide = np.abs(chance.normal(0, 0.01, close.shape)) * close
    columns = {
        "open": close + wide * chance.choice([-0.5, 0.5], close.shape),
        "high": close + wide,
        "low": close - wide,
        "close": close,
        "volume": chance.integers(1, 9, close.shape) * 100.0,
        "benchmark": np.repeat(close.mean(axis=1)[:, None], len(SYMBOLS), axis=1),
    }
    for values in columns.values():
        values[20:23, 1] = np.nan
        values[:30, 4] = np.nan
    columns["sector"] = np.tile([1.0, 2.0, 1.0, 2.0, np.nan], (BARS, 1))
    return {name: np.asfortranarray(values) for name, values in columns.items()}


def axes(count: int = BARS) -> Axes:
    start = np.datetime64("2024-01-01T21:00", "ns")
    return Axes(start + np.arange(count) * np.timedelta64(86_400 * 10**9, "ns"), SYMBOLS)


def batch(text: str, bars: Mapping[str, Matrix], **formulas: str) -> Matrix:
    graph = Graph([understood(text, **formulas).column])
    return next(values for _, values in graph.batch({name: bars[name] for name in graph.inputs}, axes()))


def stream(text: str, bars: Mapping[str, Matrix], start: int, **formulas: str) -> Matrix:
    graph = Graph([understood(text, **formulas).column])
    past = {name: bars[name][:start] for name in graph.inputs}
    handle = graph.stream(past, Axes(axes().times[:start], SYMBOLS))
    rows = [
        handle.update({name: bars[name][row] for name in graph.inputs}, axes().times[row])[0]
        for row in range(start, BARS)
    ]
    return np.array(rows)


def same(found: Matrix, expected: Matrix) -> bool:
    return bool(np.array_equal(found, np.broadcast_to(expected, found.shape), equal_nan=True))


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("close - open", lambda b: b["close"] - b["open"]),
        ("-close * 2 + 1", lambda b: -b["close"] * 2 + 1),
        ("1 / close", lambda b: 1 / b["close"]),
        ("close ** 3", lambda b: b["close"] * b["close"] * b["close"]),
        ("abs(close - open)", lambda b: np.abs(b["close"] - b["open"])),
        ("sqrt(volume)", lambda b: np.sqrt(b["volume"])),
        ("sign(close - open)", lambda b: np.sign(b["close"] - b["open"])),
        ("log(close)", lambda b: np.log(b["close"])),
        ("exp(close / 100)", lambda b: np.exp(b["close"] / 100)),
        ("greatest(open, close, 100)", lambda b: np.maximum(np.maximum(b["open"], b["close"]), 100)),
        ("least(100, close)", lambda b: np.minimum(100, b["close"])),
        ("clip(close, 99, 101)", lambda b: np.clip(b["close"], 99, 101)),
        ("clip(close, low=open, high=open + 1)", lambda b: np.clip(b["close"], b["open"], b["open"] + 1)),
        ("close * (2 + 3) / 4 ** 2", lambda b: b["close"] * 5 / 16),
        ("data.benchmark", lambda b: b["benchmark"]),
        ("volume", lambda b: b["volume"]),
    ],
)  # fmt: skip
def test_arithmetic_and_functions_are_numpys(
    bars: dict[str, Matrix], text: str, function: Callable[[dict[str, Matrix]], Matrix]
) -> None:
    """Each sign and function gives numpy's values to the last bit, NaN where a symbol has no bar."""
    assert same(batch(text, bars), function(bars))


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("close > open", lambda close, open_: close > open_),
        ("close <= open", lambda close, open_: close <= open_),
        ("close <= close", lambda close, open_: np.isfinite(close)),
        ("close >= close", lambda close, open_: np.isfinite(close)),
        ("close < close", lambda close, open_: np.isinf(close)),
        ("close > close", lambda close, open_: np.isinf(close)),
        ("close != close", lambda close, open_: np.isinf(close)),
        ("close == close", lambda close, open_: np.isfinite(close)),
        ("not close >= open", lambda close, open_: ~(close >= open_)),
        ("close > 100 and open != 100", lambda close, open_: (close > 100) & (open_ != 100)),
        ("close < 99 or open - open", lambda close, open_: close < 99),
    ],
)
def test_comparisons_give_one_and_zero(
    bars: dict[str, Matrix], text: str, function: Callable[[Matrix, Matrix], npt.NDArray[np.bool_]]
) -> None:
    """Truth is 1.0 and untruth 0.0; where a symbol has no bar nothing is true or untrue, but NaN."""
    close, open_ = bars["close"], bars["open"]
    expected = np.where(np.isfinite(close), function(close, open_).astype(float), np.nan)
    assert same(batch(text, bars), expected)


def test_where_chooses_and_does_not_look_at_what_it_leaves(bars: dict[str, Matrix]) -> None:
    """A NaN that is not chosen does no harm, one that is chosen is NaN, and so is an unknown condition."""
    close, open_ = bars["close"], bars["open"]
    known = np.isfinite(close)
    up = close > open_
    assert same(
        batch("where(close > open, close, -1)", bars), np.where(known, np.where(up, close, -1), np.nan)
    )
    guarded = batch("where(close > open, 1 / (close > open), 7)", bars)
    assert same(guarded, np.where(known, np.where(up, 1.0, 7.0), np.nan))
    assert same(
        batch("where(close > open, 1 / (close <= open), 7)", bars), np.where(known & ~up, 7.0, np.nan)
    )
    assert same(batch("where(1, close, open)", bars), close)


def test_division_by_a_zero_value_is_nan_for_that_bar(bars: dict[str, Matrix]) -> None:
    """What is only zero at times is no error: the bar has no value, and no infinity gets on."""
    found = batch("close / (close > open)", bars)
    assert same(found, np.where(bars["close"] > bars["open"], bars["close"], np.nan))
    for text in ("log(close - close)", "exp(volume * 1000)", "sqrt(-close)", "(close * 1e200) ** 2"):
        assert np.isnan(batch(text, bars)).all()


def test_lag_and_difference_count_the_symbols_own_bars(bars: dict[str, Matrix]) -> None:
    """`lag(x, n)` is x of n bars of that symbol ago; `difference` is x less that; lag by 0 is x itself."""
    expected = np.full_like(bars["close"], np.nan)
    for column in range(len(SYMBOLS)):
        rows = np.flatnonzero(np.isfinite(bars["close"][:, column]))
        expected[rows[3:], column] = bars["close"][rows[:-3], column]
    assert same(batch("lag(close, 3)", bars), expected)
    assert same(batch("difference(close, bars=3)", bars), bars["close"] - expected)
    assert same(batch("lag(close, 0)", bars), bars["close"])


def test_cross_sectional_functions_look_at_one_bar(bars: dict[str, Matrix]) -> None:
    """Rank, z-score, mean, breadth and median of a bar's symbols, alone or within `by`."""
    close = bars["close"][40]
    rank = (2 * np.argsort(np.argsort(close)) - 4) / 4
    assert same(batch("rank(close)", bars)[40], rank)
    assert np.allclose(batch("demean(close)", bars)[40], close - close.mean(), atol=1e-12)
    assert np.allclose(batch("zscore(close)", bars)[40], (close - close.mean()) / close.std(), atol=1e-12)
    assert same(batch("median(close)", bars)[40], np.full(5, np.median(close)))
    assert same(batch("breadth(close - 100)", bars)[40], np.full(5, np.mean(close > 100) - 0.5))
    by = batch("demean(close, by=data.sector)", bars)[40]
    assert np.allclose(by[[0, 2]], close[[0, 2]] - close[[0, 2]].mean(), atol=1e-12)
    assert np.allclose(by[[1, 3]], close[[1, 3]] - close[[1, 3]].mean(), atol=1e-12)
    assert np.isnan(by[4])
    assert set(batch("rank(close, data.sector)", bars)[40, :4]) == {-1.0, 1.0}


def test_indicators_take_series_parameters_and_outputs(bars: dict[str, Matrix]) -> None:
    """Leading series replace the inputs, numbers are parameters in order or by name, `.output` picks one."""
    close, volume = bars["close"][:, 0].copy(), bars["volume"][:, 0].copy()
    high = bars["high"][:, 0].copy()
    for text, expected in {
        "rsi": talib.RSI(close, 14),
        "rsi()": talib.RSI(close, 14),
        "sma(5)": talib.SMA(close, 5),
        "sma(timeperiod=10 / 2)": talib.SMA(close, 5),
        "sma(volume, 5)": talib.SMA(volume, 5),
        "sma(close=volume, timeperiod=5)": talib.SMA(volume, 5),
        "macd(5, 10, 3).macdhist": talib.MACD(close, 5, 10, 3)[2],
        "macd(volume, slowperiod=10, fastperiod=5).macdsignal": talib.MACD(volume, 5, 10, 9)[1],
        "sma(sma(high, 3), 4)": talib.SMA(talib.SMA(high, 3), 4),
    }.items():
        assert same(batch(text, bars)[:, 0], expected), text
    expected = bars["close"] + 3 * bars["benchmark"]
    assert same(batch("spread(3).upper", bars), expected)
    assert same(batch("spread(close, data.benchmark, 3, 'simple').upper", bars), expected)


def test_coarser_bars_are_seen_once_they_have_closed(bars: dict[str, Matrix]) -> None:
    """`close @ 1w` holds still through a week and is the close before the last Monday 0:00."""
    found = batch("close @ 1w", bars)[:, 0]
    # The first of January 2024 was a Monday, and bars close at 21:00.
    expected = [bars["close"][row // 7 * 7 - 1, 0] if row >= 7 else np.nan for row in range(BARS)]
    assert same(found, np.array(expected))


PARITY = [
    "close / sma(5) - 1",
    "where(close > lag(close, 1), zscore(rocp(3), by=data.sector), 0)",
    "rank(difference(close, 2)) * breadth(close - open) + median(volume)",
    "clip(demean(macd(3, 6, 2).macdhist), -1, 1) ** 3",
    "lag(1 / (close > open), 2)",
    "(sma(3) / lag(sma(3), 1) - 1) @ 2d",
    "rsi(3) @ 1w - rsi(3)",
    "spread(2).upper and not volume > 300",
    "greatest(edge, lag(edge, 1)) / abs(edge)",
]


@pytest.mark.parametrize("text", PARITY)
def test_a_formula_is_the_same_in_batch_and_stream(bars: dict[str, Matrix], text: str) -> None:
    """Carried on from any bar, gaps and late listings included, a formula gives its batch's very bits."""
    formulas = {"edge": "close - ema(4)"}
    whole = batch(text, bars, **formulas)
    assert understood(text, **formulas).column.exact
    assert np.isfinite(whole).any()
    for start in (0, 1, 21, 60):
        assert same(stream(text, bars, start, **formulas), whole[start:]), start


@pytest.mark.parametrize("text", [*PARITY, "log(close) - exp(open / 100)"])
def test_a_formula_sees_nothing_later(bars: dict[str, Matrix], text: str) -> None:
    """Changing every bar after some time changes no value up to it."""
    formulas = {"edge": "close - ema(4)"}
    changed = {name: values.copy() for name, values in bars.items()}
    for name, values in changed.items():
        values[60:] = np.flip(values[60:] * (1 if name == "sector" else 3), axis=1)
    assert same(batch(text, changed, **formulas)[:60], batch(text, bars, **formulas)[:60])
    assert not same(batch(text, changed, **formulas), batch(text, bars, **formulas))
