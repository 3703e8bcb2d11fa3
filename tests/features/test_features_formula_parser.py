"""Formulas as text: words, trees, errors that point, and one spelling for each meaning."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alphaloop.errors import InputError
from features.formula.formula_error import FormulaError
from features.formula.parser import RANKS, WORDS, parse_formula
from features.formula.printer import canonical_text, column_name
from features.formula.syntax import (
    MAX_DEPTH,
    Binary,
    Call,
    Coarser,
    Expression,
    Extra,
    Name,
    Number,
    Output,
    Power,
    Text,
    Unary,
    walk,
)
from features.formula.tokens import MAX_FORMULA_LENGTH

A, B, C = Name("a"), Name("b"), Name("c")
SIGNS = ["or", "and", "<", "<=", ">", ">=", "==", "!=", "+", "-", "*", "/"]


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("12", Number(12.0)),
        ("2.5e-1", Number(0.25)),
        ("a", A),
        ("data.sentiment", Extra("sentiment")),
        ("'it'", Text("it")),
        ('"it\'s"', Text("it's")),
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a - (b - c)", Binary("-", A, Binary("-", B, C))),
        ("-a ** 2", Unary("-", Power(A, 2))),
        ("a * -b", Binary("*", A, Unary("-", B))),
        ("not a == b and c", Binary("and", Unary("not", Binary("==", A, B)), C)),
        ("a or b and c", Binary("or", A, Binary("and", B, C))),
        ("a + b @ 4h", Binary("+", A, Coarser(B, 4, "h"))),
        ("a.upper @ 1w ** 2", Power(Coarser(Output(A, "upper"), 1, "w"), 2)),
        ("f(a, 1, by=b).low", Output(Call("f", (A, Number(1.0)), (("by", B),)), "low")),
        ("f()", Call("f")),
        ("\n a\t+\r\n b ", Binary("+", A, B)),
    ],
)
def test_a_formula_is_read_by_the_usual_ranks(text: str, tree: Expression) -> None:
    """Powers bind before signs, products before sums, comparisons before `not`, `and`, `or`; @ before all."""
    assert parse_formula(text).expression == tree


def test_a_formula_may_carry_a_name() -> None:
    """`name = expression` names the formula; the expression is the same as without."""
    named = parse_formula("edge = close / sma(50) - 1")
    assert named.name == "edge"
    assert named.expression == parse_formula("close / sma(50) - 1").expression
    assert parse_formula("a").name is None


def test_every_part_knows_where_it_stands() -> None:
    """Spans cut out of the text the very words that a part was made of."""
    text = "rank(return_5, by=data.sector) + 2 * macd(12).hist"
    found = {text[part.span.start : part.span.end] for part in walk(parse_formula(text).expression)}
    assert found == {
        "rank(return_5, by=data.sector)",
        "return_5",
        "data.sector",
        "+",
        "2",
        "*",
        "macd(12)",
        "12",
        "hist",
    }


MALFORMED = [
    ("", 1, "there is no formula"),
    ("edge =", 7, "there is no formula"),
    ("close / ", 9, "the formula ends; a value is needed here"),
    ("close open", 7, "'open' is unexpected; an operator or the formula's end is needed here"),
    ("(close", 1, "this parenthesis is not closed"),
    ("sma(close, 5", 4, "this parenthesis is not closed"),
    ("close)", 6, "')' is unexpected; an operator or the formula's end is needed here"),
    ("sma(5,)", 7, "')' is unexpected; a value is needed here"),
    ("'close", 1, "this string has no closing '"),
    ("close ^ 2", 7, "the character '^' has no place in a formula; a power is written **"),
    ("close × 2", 7, "the character '\\xd7' has no place in a formula"),
    ("close; import os", 6, "the character ';' has no place in a formula"),
    ("1e999 * close", 1, "the number 1e999 is too large"),
    ("3x", 1, "the number 3 runs into 'x'"),
    ("a < b < c", 7, "comparisons do not chain; join them with `and`"),
    ("a ** 2 ** 3", 8, "powers do not chain; use parentheses"),
    ("a ** 0.5", 6, "an exponent is a whole number from 1 to 64, written out"),
    ("a ** -1", 6, "an exponent is a whole number from 1 to 64, written out"),
    ("a @ week", 5, "after @ comes a period: a whole number and m, h, d, w or M, as in @ 1w"),
    ("a @ 0d", 5, "a coarser bar has 1 to 10000 d"),
    ("sma(length=5, 3)", 15, "what has no keyword comes before what has one"),
    ("sma(n=5, n=3)", 10, "'n' is given twice"),
    ("(a + b).upper", 8, "only an indicator has outputs"),
    ("data + 1", 1, "`data` needs the name of a column: data.name"),
    ("a + not b", 5, "put `not …` into parentheses here"),
    ("and = a", 1, "'and' is a word of the language and cannot be a formula's name"),
]


@pytest.mark.parametrize(("text", "column", "what"), MALFORMED)
def test_a_malformed_formula_says_what_is_wrong_and_where(text: str, column: int, what: str) -> None:
    """Each mistake has its own one-line message with the column where it stands."""
    with pytest.raises(FormulaError) as raised:
        parse_formula(text)
    assert str(raised.value) == f"formula `{text}`, column {column}: {what}"
    assert isinstance(raised.value, InputError)


def test_an_error_points_at_its_place() -> None:
    """`pointing` is two lines: the text, and a caret under the place."""
    with pytest.raises(FormulaError) as raised:
        parse_formula("close / (sma(50) - 1")
    first, second = raised.value.pointing().split("\n")
    assert first == "close / (sma(50) - 1"
    assert second.index("^") == first.index("(")
    assert (raised.value.position, raised.value.column, raised.value.text) == (8, 9, first)


@pytest.mark.parametrize("place", [0, 17, 500, 999])
def test_an_error_in_a_long_text_shows_the_part_around_it(place: int) -> None:
    """However long or wild the text, the message is one line and the caret stands under the culprit."""
    text = "\n".join(["a"] * 500).ljust(1000)
    text = text[:place] + "§" + text[place + 1 :]
    with pytest.raises(FormulaError) as raised:
        parse_formula(text)
    first, second = raised.value.pointing().split("\n")
    assert first[second.index("^")] == "§"
    assert len(first) <= 62
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * (MAX_DEPTH + 1) + "a" + ")" * (MAX_DEPTH + 1),
        "f(" * 900,
        "-" * 3000 + "a",
        "not " * 900 + "a",
        "a" + " + a" * 900,
        "a" + "@1d" * 900,
        "(a or b and not c < d + e * -" * 100 + "a",
        "((((((((((" * 390,
    ],
)
def test_nesting_has_a_limit(text: str) -> None:
    """Whatever nests too deeply is refused as such, and not by Python's stack."""
    with pytest.raises(FormulaError, match="deeper than 64 levels; name a part of the formula"):
        parse_formula(text)


def test_what_is_just_within_the_limits_is_read() -> None:
    """64 parentheses, a sum of 64 terms and a text of 4,000 characters are fine; one more is not."""
    assert parse_formula("(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH).expression == A
    assert parse_formula(" + ".join(["a"] * MAX_DEPTH))
    assert parse_formula("a".ljust(MAX_FORMULA_LENGTH))
    with pytest.raises(FormulaError, match="a formula has at most 4000 characters, this one 4001"):
        parse_formula("a".ljust(MAX_FORMULA_LENGTH + 1))


NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name not in (*WORDS, *RANKS)
)
NUMBERS = st.one_of(
    st.integers(0, 10**6).map(float), st.floats(0, allow_infinity=False, allow_nan=False)
).map(lambda value: Number(abs(value)))
TEXTS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8).filter(
    lambda text: not ("'" in text and '"' in text)
)
LEAVES = st.one_of(NUMBERS, TEXTS.map(Text), NAMES.map(Name), NAMES.map(Extra))


def _wider(below: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    keywords = st.dictionaries(NAMES, below, max_size=2).map(lambda pairs: tuple(pairs.items()))
    calls = st.builds(Call, NAMES, st.lists(below, max_size=3).map(tuple), keywords)
    return st.one_of(
        calls,
        st.builds(Output, st.one_of(calls, NAMES.map(Name)), NAMES),
        st.builds(Unary, st.sampled_from(["-", "not"]), below),
        st.builds(Binary, st.sampled_from(SIGNS), below, below),
        st.builds(Power, below, st.integers(1, 64)),
        st.builds(Coarser, below, st.integers(1, 10_000), st.sampled_from("mhdwM")),
    )


TREES = st.recursive(LEAVES, _wider, max_leaves=25)


@settings(max_examples=300, deadline=None)
@given(TREES)
def test_a_tree_is_read_back_from_its_spelling(tree: Expression) -> None:
    """For any tree, `parse(canonical(tree))` is that tree again, and its spelling the same."""
    spelled = canonical_text(tree)
    if len(spelled) <= MAX_FORMULA_LENGTH:
        assert parse_formula(spelled).expression == tree
        assert canonical_text(parse_formula(spelled).expression) == spelled


def test_every_sign_within_every_other_is_read_back() -> None:
    """Each sign on either side of each other keeps its parentheses where they are needed."""
    inner: list[Expression] = [Binary(sign, A, B) for sign in SIGNS]
    inner += [
        Unary("-", A),
        Unary("not", A),
        Power(A, 2),
        Coarser(A, 1, "d"),
        Output(A, "b"),
        Call("f", (A,)),
    ]
    for one in inner:
        outer: list[Expression] = [Binary(sign, one, C) for sign in SIGNS]
        outer += [Binary(sign, C, one) for sign in SIGNS]
        outer += [
            Unary("-", one),
            Unary("not", one),
            Power(one, 3),
            Coarser(one, 2, "h"),
            Call("f", (one, one)),
        ]
        for tree in outer:
            assert parse_formula(canonical_text(tree)).expression == tree


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("close/sma( 50 )-1", "((close / (sma(50.0))) - 1)"),
        ("f(b=1, a=2)", "f(a=2, b=1.0)"),
        ("a and (b and c) or (not (d))", "(a and (b and c)) or not d"),
        ("1e3", "1000"),
        ('"x"', "'x'"),
    ],
)
def test_spaces_parentheses_and_the_order_of_keywords_say_nothing(one: str, other: str) -> None:
    """Two ways to write the same have one spelling."""
    assert canonical_text(parse_formula(one).expression) == canonical_text(parse_formula(other).expression)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("macd(12, 26, 9).histogram", "macd_12_26_9_histogram"),
        ("rsi(14) @ 1w", "rsi_14_at_1w"),
        ("rsi", "rsi"),
        ("lag(rocp(231), 21)", "lag_rocp_231_21"),
        ("rank(return_5, by=data.sector)", "rank_return_5_by_data_sector"),
        ("bbands(20, 2.5, -1e-7).upper", "bbands_20_2p5_minus_1eminus07_upper"),
        ("edge = close / open", "edge"),
    ],
)
def test_a_plain_call_names_its_column(text: str, name: str) -> None:
    """An unnamed call is named after what it says; a given name stands."""
    assert column_name(parse_formula(text)) == name
    assert name.isidentifier()


@pytest.mark.parametrize("text", ["close / sma(50) - 1", "lag(a + b, 1)", "f('no name!')"])
def test_anything_else_needs_a_name(text: str) -> None:
    """A formula that is no plain call, without a name, says how to give it one."""
    with pytest.raises(FormulaError, match="this is no plain call, so it needs a name: name = "):
        column_name(parse_formula(text))


PIECES = (
    *"()+-*/<>=,.@'\"^#;:[]{}\\\0\n\t §é٣\ud800",
    "**", "<=", "==", "!=", " and ", " or ", " not ", "close", "sma", "rsi", "macd", "data", "rank", "by=",
    "1", "14", "0", "1e-3", "1e999", "2.5", "1w", "4h", "x", "where(", "lag(", "clip(", ".macdhist", "𝟙",
)  # fmt: skip


def _fuzzed(chance: random.Random) -> str:
    kind = chance.randrange(4)
    if kind == 0:
        return "".join(chance.choice(PIECES) for _ in range(chance.randrange(1, 40)))
    if kind == 1:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(80))).decode("latin-1")
    if kind == 2:
        return "".join(chr(chance.randrange(0x3000)) for _ in range(chance.randrange(60)))
    return chance.choice(PIECES) * chance.randrange(1, 1200)


def _read(text: str) -> bool:
    """Whether the text is a formula; if not, its error must be fit to be shown."""
    try:
        tree = parse_formula(text).expression
    except FormulaError as error:
        assert "\n" not in str(error)
        assert error.pointing().count("\n") == 1
        return False
    assert parse_formula(canonical_text(tree)).expression == tree
    return True


def _seconds(text: str) -> float:
    began = time.process_time()
    _read(text)
    return time.process_time() - began


def _survives(seed: int, count: int) -> None:
    chance = random.Random(seed)
    texts = [_fuzzed(chance) for _ in range(count)]
    read = [_read(text) for text in texts]
    assert 10 < sum(read) < count, "a fuzz that reads nothing or everything proves nothing"
    # The garbage collector may strike once, hardly three times in the same place.
    slow = [text for text in texts if all(_seconds(text) > 0.05 for _ in range(3))]
    assert not slow


def test_no_text_does_more_than_be_refused() -> None:
    """1,000 texts of pieces, raw bytes and any characters: a tree or a `FormulaError`."""
    _survives(7, 1_000)


@pytest.mark.long
def test_no_text_does_more_than_be_refused_however_many() -> None:
    """The same with 10,000 texts."""
    _survives(11, 10_000)
