"""A strategy is a pure function of a view, and an answer that no book can hold names it and the symbol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alphaloop.allocation import AllocationStrategy, next_weights
from alphaloop.costs import CostModel
from alphaloop.decision.book_limits import BookLimits
from alphaloop.decision.modelled_book import ModelledBook
from alphaloop.decision.strategy import StrategyIdentity, StrategyView, strategy_weights
from alphaloop.errors import InputError, StrategyError

MONDAY = datetime(2020, 3, 16, 20, tzinfo=UTC)
SYMBOLS = ("AAA", "BBB", "CCC")


@dataclass(frozen=True)
class Given:
    """A strategy that answers as it is told."""

    name: ClassVar[str] = "given"
    answer: Callable[[StrategyView], Any]

    def weights(self, view: StrategyView) -> Any:
        return self.answer(view)


def view(scores: Any = (0.1, 0.3, 0.2), current: Any = (0.2, 0.2, 0.2)) -> StrategyView:
    return StrategyView(MONDAY, SYMBOLS, np.array(scores, float), np.array(current, float))


def failing(_: StrategyView) -> Any:
    return {}["gone"]


def writing(seen: StrategyView) -> Any:
    seen.scores[0] = 1.0
    return seen.scores


@pytest.mark.parametrize(
    ("answer", "weights"),
    [
        (lambda _: [0.1, 0.2, 0.3], [0.1, 0.2, 0.3]),
        (lambda _: np.array([0.5, 0.0, 0.5], np.float32), [0.5, 0.0, 0.5]),
        (lambda _: {"CCC": 0.4}, [0.0, 0.0, 0.4]),
        (lambda _: {}, [0.0, 0.0, 0.0]),
        (lambda seen: seen.current, [0.2, 0.2, 0.2]),
        (lambda _: [0.1, -1e-12, 2.0], [0.1, 0.0, 2.0]),
    ],
    ids=["list", "array", "mapping", "cash", "no trade", "rounding"],
)
def test_an_answer_is_an_array_or_a_mapping(answer: Any, weights: list[float]) -> None:
    """Weights come in the order of the view; a mapping holds what it names, and nothing else."""
    assert strategy_weights(Given(answer), view()).tolist() == pytest.approx(weights)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: {"AAA": 0.1, "ZZZ": 0.2}, "weighs ZZZ, which is no symbol of the book: AAA, BBB, CCC"),
        (lambda _: [0.1, 0.2], r"gives weights of the shape \(2,\) for 3 symbols"),
        (lambda _: [0.1, np.nan, 0.2], "gives BBB the weight nan; weights are finite and not negative"),
        (lambda _: {"CCC": float("inf")}, "gives CCC the weight inf"),
        (lambda _: [0.1, 0.2, -0.3], "gives CCC the weight -0.3"),
        (lambda _: None, "gives weights of the shape"),
        (lambda _: ["a", "b", "c"], "failed on the bar of 2020-03-16T20:00:00"),
        (failing, "failed on the bar of 2020-03-16T20:00:00.00:00: KeyError: 'gone'"),
        (writing, "ValueError: assignment destination is read-only"),
    ],
    ids=["unknown", "too few", "nan", "infinite", "short", "nothing", "texts", "failure", "impure"],
)
def test_an_answer_that_no_book_can_hold_is_refused(answer: Any, words: str) -> None:
    """One line names the strategy, the symbol and the weight, or what went wrong in it."""
    with pytest.raises(StrategyError, match=f"^strategy 'given' .*{words}") as refused:
        strategy_weights(Given(answer), view())
    assert "\n" not in str(refused.value)


@given(st.lists(st.floats(-10, 10) | st.just(float("nan")), min_size=3, max_size=3))
def test_the_built_in_strategy_is_the_allocation(scores: list[float]) -> None:
    """Through the view, allocation gives exactly the weights of its maths."""
    allocation = AllocationStrategy(tilt=1.0, rate=0.3)
    expected = next_weights(scores, np.full(3, 0.2), allocation)
    assert strategy_weights(allocation, view(scores)).tolist() == expected.tolist()


def test_the_identity_names_parameters_and_code() -> None:
    """It survives the journal's text, and the digest is that of the file of the class."""

    @dataclass(frozen=True)
    class Own:
        name: ClassVar[str] = "own"
        names: tuple[str, ...] = ("AAA",)
        share: float = 0.5

    identity = StrategyIdentity.of(Own())  # type: ignore[arg-type]
    assert identity.parameters == {"names": ["AAA"], "share": 0.5}
    assert len(identity.digest) == 64
    assert StrategyIdentity.from_body(identity.to_body()) == identity
    assert str(identity) == f"strategy own of digest {identity.digest[:12]}"
    assert StrategyIdentity.of(AllocationStrategy()).digest != identity.digest


@pytest.mark.parametrize("value", [Decimal(1), float("nan"), MONDAY])
def test_a_parameter_that_no_journal_can_hold_is_refused(value: Any) -> None:
    """The strategy is named, and what parameters can be."""
    with pytest.raises(InputError, match=r"'given' has a parameter that no journal can hold.*finite"):
        StrategyIdentity.of(Given(value))


def test_a_modelled_book_keeps_its_weights_where_its_strategy_fails() -> None:
    """It trades on the bars before, holds through the failure, and says what the first one was."""

    def once(seen: StrategyView) -> Any:
        return [0.5, 0.5, 0.0] if seen.as_of == MONDAY else {"ZZZ": 1.0}

    book = ModelledBook(Given(once), CostModel(0, 0), SYMBOLS, BookLimits(max_weight=1.0))
    days = [MONDAY.replace(day=day) for day in (16, 17, 18, 19)]
    gains = [np.zeros(3), np.zeros(3), np.array([0.1, 0.0, 0.0]), np.array([0.0, 0.1, 0.0])]
    steps = [book.step(gain, np.zeros(3), day) for gain, day in zip(gains, days, strict=True)]
    assert [step.net_return for step in steps] == pytest.approx([0, 0, 0.05, 0.05 / 1.05])
    assert [step.turnover for step in steps] == [0, 0, 0, 0]
    assert book.failure.startswith("strategy 'given' weighs ZZZ")


def test_a_modelled_book_clips_what_a_strategy_asks_for_too_much() -> None:
    """Weights above the limits of a book are not refused but cut to them."""
    book = ModelledBook(
        Given(lambda _: [3.0, 0.0, 0.0]), CostModel(0, 0), SYMBOLS, BookLimits(max_weight=0.4)
    )
    moves = [np.zeros(3), np.zeros(3), np.array([0.1, 0, 0])]
    steps = [book.step(move, np.zeros(3), MONDAY) for move in moves]
    assert steps[2].net_return == pytest.approx(0.04) and book.failure == ""
