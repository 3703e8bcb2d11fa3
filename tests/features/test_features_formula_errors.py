"""Formulas that mean nothing: an error that says what does not fit and where, at once."""

from __future__ import annotations

import random
import time

import pytest

from features.formula.compiler import Compiler
from features.formula.formula_error import FormulaError
from features.formula.parser import parse_formula
from features.formula.printer import canonical_text

from .formula_language import resolver, understood

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
    language = Compiler(resolver(edge="close - open"))
    for _ in range(2):
        with pytest.raises(FormulaError, match="made of itself: edge -> edge"):
            language.compile(parse_formula("edge = rank(edge)"))
        language.compile(parse_formula("edge"))
    assert understood("rsi = rsi(14) / 50").text == "rsi(14) / 50"


def test_an_error_in_a_named_formula_points_into_that_formula() -> None:
    """The text of the error is that of the formula in which the mistake is."""
    with pytest.raises(FormulaError) as raised:
        understood("rank(edge)", edge="close / smaa(5)")
    assert raised.value.text == "edge = close / smaa(5)"
    assert raised.value.text[raised.value.position :] == "smaa(5)"


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
    language = Compiler(resolver(edge="close / ema(5) - 1"))
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


def _has_meaning(language: Compiler, text: str) -> bool:
    try:
        found = language.compile(parse_formula(text))
    except FormulaError as error:
        assert "\n" not in str(error)
        return False
    spelled = canonical_text(found.expression)
    assert language.compile(parse_formula(spelled)).column.key == found.column.key
    return True


def test_no_formula_does_more_than_be_refused() -> None:
    """1,000 random formulas that mostly look right mean something or raise `FormulaError`, at once."""
    _understands(3, 1_000)


@pytest.mark.long
def test_no_formula_does_more_than_be_refused_however_many() -> None:
    """The same with 10,000 formulas."""
    _understands(4, 10_000)
