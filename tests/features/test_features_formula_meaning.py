"""What formulas mean: columns of the graph, the same in batch and stream, and errors where nothing fits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pytest
import talib

from alphaloop.errors import UnknownNameError
from features import catalogue
from features.formula.errors import FormulaError
from features.formula.functions import ARGUMENTS
from features.formula.meaning import COLUMNS, Language, Meaning, meaning
from features.formula.parser import RANKS, WORDS, parse
from features.formula.spelling import canonical
from features.formula.syntax import DEEPEST, Formula
from features.graph import Graph
from features.indicator import Indicator, indicator
from features.operator import Axes, Operator
from features.operators.pointwise import Pointwise

Matrix = npt.NDArray[np.float64]
SYMBOLS = ("A", "B", "C", "D", "E")
BARS = 90


@indicator(inputs=("close", "benchmark"), outputs=("upper", "lower"))
def spread(scale: float = 2.0, kind: str = "simple") -> Operator:
    """Close and benchmark apart."""
    return Pointwise(lambda close, other: (close + scale * other, close - scale * other), ("upper", "lower"))


def resolver(**formulas: str) -> Callable[[str], Indicator | Formula]:
    """Names of the catalogue, `spread`, and these formulas."""

    def resolve(name: str) -> Indicator | Formula:
        if name in formulas:
            return parse(f"{name} = {formulas[name]}")
        if name == "spread":
            return spread
        try:
            return catalogue.find(name)
        except UnknownNameError as error:
            raise UnknownNameError("feature", name, (*error.known, *formulas)) from error

    return resolve


def understood(text: str, **formulas: str) -> Meaning:
    return meaning(parse(text), resolver(**formulas))


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


def test_only_logarithm_and_exponential_are_not_exact() -> None:
    """A formula says itself whether batch and stream agree to the last bit."""
    assert understood("sqrt(close) ** 3 / zscore(close)").column.exact
    assert not understood("rank(log(close))").column.exact
    assert not understood("exp(rocp(1))").column.exact


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("rsi", "rsi(14)"),
        ("rsi( timeperiod = 14.0 )", "rsi(14)"),
        ("rsi(close, 14).value", "rsi(14)"),
        ("sma(volume)", "sma(volume, 30)"),
        ("macd(slowperiod=26).macdhist/close", "macd(12, 26, 9).macdhist / close"),
        ("sma(2 * 10)", "sma(20)"),
        ("obv()", "obv"),
        ("difference(bars=2, x=((close)))", "difference(close, 2)"),
        ("rank(close, data.sector)", "rank(close, by=data.sector)"),
        ("spread.upper", "spread(2, 'simple').upper"),
        ("spread(close=open).upper", "spread(open, data.benchmark, 2, 'simple').upper"),
        ("mavp(close, open)", "mavp(close, open, 2, 30, 0)"),
        ("edge + 1", "edge + 1"),
    ],
)
def test_a_meaning_has_one_spelling(text: str, spelled: str) -> None:
    """Defaults are filled in, keywords put in order, and the spelling means itself."""
    found = understood(text, edge="close - open")
    assert found.spelling == spelled
    again = understood(spelled, edge="close - open")
    assert (again.spelling, again.column.key) == (spelled, found.column.key)


def test_every_indicator_of_the_catalogue_is_a_formula() -> None:
    """Bare, or with one of its outputs, each name means the catalogue's own node with its defaults."""
    language = Language(catalogue.find)
    for name in catalogue.names():
        node = catalogue.apply(name)
        outputs = node.operator.outputs
        for output in outputs:
            found = language.meaning(parse(f"{name}.{output}"))
            assert found.column.key == node.output(output).key, name
            assert language.meaning(parse(found.spelling)).column.key == found.column.key, name
        if len(outputs) == 1:
            assert language.meaning(parse(name)).column.key == node.output().key, name


def test_functions_hide_no_indicator() -> None:
    """The language's words are free in the catalogue, but for TA-Lib's functions that say the same."""
    words = {*COLUMNS, *ARGUMENTS, *WORDS, *RANKS}
    assert words & set(catalogue.names()) == {"exp", "sqrt"}


def test_what_has_one_meaning_is_computed_once() -> None:
    """Keys go by meaning: spellings share a node, other parameters and other formulas do not."""
    assert understood("rsi").column.key == understood("rsi(close, 14)").column.key
    assert understood("rsi(14)").column.key != understood("rsi(15)").column.key
    keys = {
        understood(text).column.key
        for text in (
            "close + 1", "close - 1", "1 - close", "close + 2", "close ** 2", "close ** 3", "lag(close, 1)",
            "lag(close, 2)", "rank(close)", "zscore(close)", "where(close, 1, 2)", "where(close, 2, 1)",
            "close @ 1d", "close @ 2d", "open @ 1d", "-close", "abs(close)", "clip(close, 1, 2)", "close > 1",
            "rank(close, by=data.sector)", "rank(close, by=open)", "clip(1, close, 2)", "close",
        )
    }  # fmt: skip
    assert len(keys) == 23
    graph = Graph([understood("edge / (edge - 1)", edge="close / sma(5)").column])
    assert len(graph.nodes) == 4


MEANINGLESS = [
    ("close / smaa(50)", 9, "unknown name 'smaa'; did you mean sma or mama or ma?"),
    ("clsoe", 1, "unknown name 'clsoe'; did you mean close?"),
    ("zzzzzzzz(1)", 1, "unknown name 'zzzzzzzz'"),
    ("macd / close", 1, "'macd' has several outputs; add one of .macd, .macdsignal, .macdhist"),
    ("macd.hist", 6, "'macd' has no output 'hist'; did you mean .macdhist?"),
    ("spread(1).middle", 11, "'spread' has no output 'middle'; it has: upper, lower"),
    ("close.upper", 7, "'close' has no outputs"),
    ("abs(close).value", 12, "'abs' has no outputs"),
    ("edge.value", 1, "'edge' is a formula: it takes no arguments and has no outputs"),
    ("edge(5)", 1, "'edge' is a formula: it takes no arguments and has no outputs"),
    ("close(5)", 1, "'close' is a column of the bars and takes no arguments"),
    ("lag + 1", 1, "'lag' is a function; it is written lag(x, bars)"),
    ("data.close", 1, "'close' is a column of every bar; write close"),
    ("sma(5, 6)", 8, "'sma' takes 1 parameter (timeperiod); 2 are given"),
    ("sma(5, close)", 8, "the series of 'sma' come before its parameters"),
    ("adx(close)", 1, "'adx' takes 3 series (high, low, close), or none for these; 1 is given"),
    ("sma(timeperiod=close)", 16, "parameter 'timeperiod' of 'sma' is a series; it must be a number"),
    ("spread(kind=close).upper", 13, "parameter 'kind' of 'spread' is a series; it must be a string"),
    ("sma(close=5)", 11, "a series is needed here, not a number"),
    ("sma(period=5)", 12, "'sma' has no parameter 'period'; did you mean timeperiod?"),
    ("sma(close, close=open)", 18, "'close' of 'sma' is given twice"),
    ("sma(5, timeperiod=6)", 19, "'timeperiod' of 'sma' is given twice"),
    ("rank(5)", 6, "a series is needed here, not a number"),
    ("lag(5, 1)", 5, "a series is needed here, not a number"),
    ("5 @ 1d", 1, "a series is needed here, not a number"),
    ("close + 'x'", 9, "a number or a series is needed here, not a string"),
    ("where(close, 'x', 1)", 14, "a number or a series is needed here, not a string"),
    ("lag(close, -1)", 12, "lag by -1 bars would look into the future"),
    ("difference(close, -2)", 19, "difference by -2 bars would look into the future"),
    ("lag(close, 1.5)", 12, "the bars of lag must be a whole number from 0 to 100000"),
    ("lag(close, 1e9)", 12, "the bars of lag must be a whole number from 0 to 100000"),
    ("lag(close, open)", 12, "the bars of lag must be a whole number, not a series"),
    ("difference(close, 0)", 19, "the bars of difference must be a whole number from 1 to 100000"),
    ("lag(close)", 1, "lag(x, bars) cannot take 1 argument"),
    ("abs(close, open)", 1, "abs(x) cannot take 2 arguments"),
    ("greatest(close)", 1, "greatest(x, y, …) cannot take 1 argument"),
    ("where(close)", 1, "where(condition, x, y) cannot take 1 argument"),
    ("abs(y=close)", 7, "abs(x) has no argument 'y'"),
    ("rank(close, x=open)", 15, "'x' of rank(x, by=…) is given twice"),
    ("clip(close, 2, 1)", 13, "clip needs low <= high, not 2 and 1"),
    ("close / 0", 7, "division by zero"),
    ("close / (2 * 3 - 6)", 7, "division by zero"),
    ("1 / 0 * close", 3, "division by zero"),
    ("close * 1e308 ** 2", 15, "these numbers give no finite number"),
    ("close * sqrt(-1)", 9, "these numbers give no finite number"),
    ("close @ 1w @ 1d", 12, "this is on coarser bars already; @ is written once"),
    ("2 + 3", 3, "this is a number and not a feature: it does not depend on the bars"),
    ("'text'", 1, "this is a string and not a feature: it does not depend on the bars"),
    ("close = open", 1, "'close' is a word of the language; take another name"),
    ("lag = open", 1, "'lag' is a word of the language; take another name"),
]


@pytest.mark.parametrize(("text", "column", "what"), MEANINGLESS)
def test_a_meaningless_formula_says_what_is_wrong_and_where(text: str, column: int, what: str) -> None:
    """Each thing that does not fit has its own one-line message with the column where it stands."""
    with pytest.raises(FormulaError) as raised:
        understood(text, edge="close - open")
    assert str(raised.value) == f"formula `{text}`, column {column}: {what}"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("close + sma(5.5)", 13),
        ("sma('x')", 5),
        ("sma(-5)", 1),
        ("sma(0)", 1),
        ("sma(1e9)", 1),
        ("sma(1e15)", 1),
    ],
)
def test_a_parameter_out_of_range_is_an_error_where_it_stands(text: str, column: int) -> None:
    """What an indicator refuses is refused at its place in the formula, naming the indicator."""
    with pytest.raises(FormulaError, match="'sma'") as raised:
        understood(text)
    assert raised.value.column == column


@pytest.mark.parametrize(
    ("formulas", "circle"),
    [
        ({"a": "a + 1"}, "a -> a"),
        ({"a": "close * b", "b": "rank(a)"}, "a -> b -> a"),
        ({"a": "b", "b": "c + d", "c": "open", "d": "lag(b, 1)"}, "b -> d -> b"),
    ],
)
def test_a_circle_of_formulas_shows_its_path(formulas: dict[str, str], circle: str) -> None:
    """Formulas that are made of one another are refused, with the way round."""
    with pytest.raises(FormulaError, match=f"a formula cannot be made of itself: {circle}$"):
        understood("a / 2", **formulas)


def test_a_formula_that_names_itself_is_a_circle_though_nobody_else_knows_it() -> None:
    """`edge = edge + 1` is a circle; `rsi = rsi(14) / 50` is not, for there `rsi` is the indicator."""
    with pytest.raises(FormulaError, match="made of itself: edge -> edge"):
        understood("edge = edge + 1")
    language = Language(resolver(edge="close - open"))
    for _ in range(2):
        with pytest.raises(FormulaError, match="made of itself: edge -> edge"):
            language.meaning(parse("edge = rank(edge)"))
        language.meaning(parse("edge"))
    assert understood("rsi = rsi(14) / 50").spelling == "rsi(14) / 50"


def test_an_error_in_a_named_formula_points_into_that_formula() -> None:
    """The text of the error is that of the formula in which the mistake is."""
    with pytest.raises(FormulaError) as raised:
        understood("rank(edge)", edge="close / smaa(5)")
    assert raised.value.text == "edge = close / smaa(5)"
    assert raised.value.text[raised.value.position :] == "smaa(5)"


def test_formulas_that_share_parts_are_understood_once() -> None:
    """Thirty formulas, each twice made of the one before, take no 2**30 steps."""
    formulas = {"f0": "close"} | {f"f{n}": f"f{n - 1} * f{n - 1}" for n in range(1, 31)}
    found = understood("f30", **formulas)
    assert len(Graph([found.column]).nodes) == 30


def test_chains_of_formulas_have_a_limit() -> None:
    """However many formulas name one another, the graph stays shallow enough to be walked."""
    formulas = {"f0": "close"} | {f"f{n}": f"lag(f{n - 1}, 1)" for n in range(1, 1000)}
    assert understood("f60", **formulas).column.lookback == 61
    with pytest.raises(FormulaError, match="more than 64 formulas name one another"):
        understood("f999", **formulas)
    language = Language(resolver(**formulas))
    with pytest.raises(FormulaError, match="deeper than 256 levels"):
        for n in range(1000):
            language.meaning(parse(f"f{n}"))
    tall = " + ".join(["close"] * DEEPEST)
    towers = {"t0": tall} | {f"t{n}": tall.replace("close", f"t{n - 1}", 1) for n in range(1, 9)}
    with pytest.raises(FormulaError, match="deeper than 256 levels"):
        understood("t8", **towers)


def _random_formula(chance: random.Random, depth: int) -> str:
    """Text that mostly means something."""
    if depth == 0 or chance.random() < 0.15:
        return chance.choice(
            ["close", "open", "volume", "data.sector", "1", "0", "2.5", "14", "-3", "1e300", "'x'", "edge",
             "rsi", "macd", "spread.upper", "obv", "sma", "clsoe", "median"]
        )  # fmt: skip
    inside = [_random_formula(chance, depth - 1) for _ in range(3)]
    name = chance.choice(
        ["abs", "sqrt", "log", "exp", "greatest", "where", "clip", "lag", "difference", "rank", "zscore",
         "sma", "rsi", "macd", "adx", "bbands", "spread", "edge", "mavp", "stddev", "nothing"]
    )  # fmt: skip
    return chance.choice(
        [
            f"({inside[0]}) {chance.choice(['+', '-', '*', '/', '<', '==', 'and', 'or'])} ({inside[1]})",
            f"-({inside[0]})",
            f"({inside[0]}) ** {chance.randrange(4)}",
            f"({inside[0]}) @ {chance.randrange(3)}{chance.choice('mhdwM')}",
            f"{name}({', '.join(inside[: chance.randrange(4)])})",
            f"{name}({chance.choice(['close', inside[0]])}, {chance.choice(['5', '30', inside[1]])})",
            f"{name}({inside[0]}, {chance.choice(['by', 'timeperiod', 'bars', 'x'])}={inside[1]})",
            f"{name}({chance.choice(['3', '5, 8', inside[0]])}).{chance.choice(['macd', 'upper', 'value'])}",
        ]
    )


def _understands(seed: int, count: int) -> None:
    chance = random.Random(seed)
    language = Language(resolver(edge="close / ema(5) - 1"))
    meant = 0
    for _ in range(count):
        text = _random_formula(chance, chance.randrange(1, 5))
        seconds = []
        for _ in range(3):
            began = time.process_time()
            meant += _has_meaning(language, text)
            seconds.append(time.process_time() - began)
            if seconds[-1] <= 0.05:
                break
        assert min(seconds) <= 0.05, text
    assert count / 10 < meant < count * 0.9


def _has_meaning(language: Language, text: str) -> bool:
    try:
        found = language.meaning(parse(text))
    except FormulaError as error:
        assert "\n" not in str(error)
        return False
    spelled = canonical(found.expression)
    assert language.meaning(parse(spelled)).column.key == found.column.key
    return True


def test_no_formula_does_more_than_be_refused() -> None:
    """1,000 random formulas that mostly look right mean something or raise `FormulaError`, at once."""
    _understands(3, 1_000)


@pytest.mark.long
def test_no_formula_does_more_than_be_refused_however_many() -> None:
    """The same with 10,000 formulas."""
    _understands(4, 10_000)
