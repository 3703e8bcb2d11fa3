"""What formulas mean: one spelling and one key for each meaning, and each computed once."""

from __future__ import annotations

import pytest

from features import catalogue
from features.engine.graph import Graph
from features.formula.compiler import COLUMNS, Compiler
from features.formula.formula_error import FormulaError
from features.formula.functions import ARGUMENT_NAMES
from features.formula.parser import RANKS, WORDS, parse_formula
from features.formula.syntax import MAX_DEPTH

from .formula_language import resolver, understood


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
    assert found.text == spelled
    again = understood(spelled, edge="close - open")
    assert (again.text, again.column.key) == (spelled, found.column.key)


def test_every_indicator_of_the_catalogue_is_a_formula() -> None:
    """Bare, or with one of its outputs, each name means the catalogue's own node with its defaults."""
    language = Compiler(catalogue.find_indicator)
    for name in catalogue.indicator_names():
        node = catalogue.build_indicator(name)
        outputs = node.operator.outputs
        for output in outputs:
            found = language.compile(parse_formula(f"{name}.{output}"))
            assert found.column.key == node.output(output).key, name
            assert language.compile(parse_formula(found.text)).column.key == found.column.key, name
        if len(outputs) == 1:
            assert language.compile(parse_formula(name)).column.key == node.output().key, name


def test_functions_hide_no_indicator() -> None:
    """The language's words are free in the catalogue, but for TA-Lib's functions that say the same."""
    words = {*COLUMNS, *ARGUMENT_NAMES, *WORDS, *RANKS}
    assert words & set(catalogue.indicator_names()) == {"exp", "sqrt"}


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
    language = Compiler(resolver(**formulas))
    with pytest.raises(FormulaError, match="deeper than 256 levels"):
        for n in range(1000):
            language.compile(parse_formula(f"f{n}"))
    tall = " + ".join(["close"] * MAX_DEPTH)
    towers = {"t0": tall} | {f"t{n}": tall.replace("close", f"t{n - 1}", 1) for n in range(1, 9)}
    with pytest.raises(FormulaError, match="deeper than 256 levels"):
        understood("t8", **towers)
