"""The sequential tests keep their promise about errors, and find what is there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollouts.evidence.sequential import (
    BURN_IN_VALUES,
    STAKES,
    BettingTest,
    MixedTest,
    PairedTest,
    PredictableScale,
)

ALPHA = 0.0025


def _first_alarm(values: np.ndarray, alpha: float) -> int | None:
    paired = PairedTest()
    for bar, value in enumerate(values):
        paired.observe(-float(value))
        if paired.worse.exceeds(alpha)[0]:
            return bar
    return None


def _heavy_tailed(rng: np.random.Generator, bars: int) -> np.ndarray:
    return rng.standard_t(4, bars) / math.sqrt(2)


def test_no_difference_is_rarely_called_one_under_heavy_tails_and_a_volatility_jump() -> None:
    """Two equal models are told apart in at most the promised share of rollouts, through a crash too."""
    rng = np.random.default_rng(7)
    alpha, alarms, runs = 0.05, 0, 200
    for _ in range(runs):
        values = _heavy_tailed(rng, 250)
        values[100:140] *= 8
        alarms += _first_alarm(values, alpha) is not None
    assert alarms / runs <= alpha


@pytest.mark.parametrize(("effect", "bars"), [(1.0, 60), (0.5, 150)])
def test_a_worse_challenger_is_found_in_time(effect: float, bars: int) -> None:
    """A challenger worse by this many standard deviations a bar is found within so many bars."""
    rng = np.random.default_rng(11)
    found = [_first_alarm(_heavy_tailed(rng, bars) + effect, ALPHA) is not None for _ in range(150)]
    assert np.mean(found) >= 0.98


@pytest.mark.parametrize("margin", [0.2, 0.5, 1.0])
def test_who_loses_all_of_the_margin_is_rarely_called_not_worse(margin: float) -> None:
    """Whatever the margin, in standard deviations; who is equal is found not worse all the same."""
    rng, rollouts, alpha = np.random.default_rng(11), 1_000, 0.05
    losing, equal = PairedTest(rollouts, margin), PairedTest(rollouts, margin)
    wrong = np.zeros(rollouts, dtype=bool)
    for _ in range(1_000):
        noise = rng.standard_t(4, rollouts) / math.sqrt(2)
        losing.observe(noise - margin)
        equal.observe(noise)
        wrong |= losing.not_worse.exceeds(alpha)
    assert wrong.mean() <= alpha
    assert equal.not_worse.exceeds(alpha).mean() >= 0.99


def test_the_scale_of_a_bar_is_known_before_it() -> None:
    """The value that is being scaled does not widen its own scale."""
    calm, crash = PredictableScale(), PredictableScale()
    for value in (1.0, -1.0) * BURN_IN_VALUES:
        calm.clip(value)
        crash.clip(value)
    assert calm.clip(0.5)[0] == pytest.approx(0.5 / 1.5, rel=1e-6)
    assert crash.clip(1_000.0)[0] == 1.0


def test_the_scale_of_the_first_bars_is_their_root_mean_square() -> None:
    """While there are few values each weighs the same, and a missing one nothing."""
    scale = PredictableScale()
    for value in (1.0, 2.0, float("nan"), 3.0):
        scale.clip(value)
    assert scale.value[0] == pytest.approx(math.sqrt((1 + 4 + 9) / 3))


def test_a_value_weighs_half_in_the_scale_after_its_half_life() -> None:
    """After as many bars of nothing, half of the mean square of the bars before is left."""
    scale = PredictableScale()
    for value in (1.0,) * 60 + (0.0,) * 21:
        scale.clip(value)
    assert scale.value[0] == pytest.approx(math.sqrt(0.5))


def test_values_of_nothing_set_no_scale() -> None:
    """After bars without any difference a first small one is no evidence: nothing says how small it is."""
    scale = PredictableScale()
    for _ in range(BURN_IN_VALUES):
        scale.clip(0.0)
    assert math.isnan(scale.clip(0.001)[0])


def test_nothing_is_bet_before_there_is_a_scale() -> None:
    """The first values only set the scale."""
    paired = PairedTest()
    for _ in range(BURN_IN_VALUES):
        paired.observe(1.0)
    assert paired.better.bets[0] == 0
    assert paired.mean[0] == 1.0


def test_a_bar_without_a_value_is_no_evidence() -> None:
    """NaN leaves test and mean as they were."""
    paired = PairedTest()
    paired.observe(float("nan"))
    assert paired.better.bets[0] == 0
    assert math.isnan(paired.mean[0])
    for value in (1.0, float("nan"), 3.0):
        paired.observe(value)
    assert paired.mean[0] == 2.0


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=50))
def test_wealth_is_the_mean_over_stakes(values: list[float]) -> None:
    """The logarithm of wealth is that of the average over the grid of constant stakes."""
    test = BettingTest()
    for value in values:
        test.bet(value)
    expected = np.mean([np.prod(1 + stake * np.array(values)) for stake in STAKES])
    assert math.exp(test.log_wealth[0]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("value", [1.5, -1.01, float("inf")])
def test_a_value_outside_the_game_is_refused(value: float) -> None:
    """A bet on a value outside [-1, 1] would break the guarantee."""
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        BettingTest().bet(value)


def test_the_refusal_of_a_value_outside_names_that_value() -> None:
    """Beside a value on the edge, which may be bet on, the message has the one that may not."""
    with pytest.raises(ValueError, match=r"got 1\.5$"):
        BettingTest(2).bet([1.0, 1.5])


def test_bets_are_counted_in_whole_numbers() -> None:
    """Each value is one bet, and a missing one is none."""
    test = BettingTest()
    for value in (0.5, -0.5, float("nan"), 0.0):
        test.bet(value)
    assert test.bets.tolist() == [3] and test.bets.dtype == np.int64


@pytest.mark.parametrize("test", [BettingTest(), MixedTest({"a": 1.0})])
def test_an_e_value_that_just_reaches_one_over_alpha_is_enough(test: BettingTest | MixedTest) -> None:
    """Before any bet the e-value is 1: it reaches the bound of an alpha of 1, and no lower alpha's."""
    assert test.exceeds(1.0).tolist() == [True]
    assert test.exceeds(0.999).tolist() == [False]


def test_a_mixture_is_the_weighted_mean_whatever_its_weights_add_up_to() -> None:
    """Weights of 1 and 3 are a quarter and three quarters."""
    mixed = MixedTest({"a": 1.0, "b": 3.0})
    mixed.parts["a"].bet(0.8)
    mixed.parts["b"].bet(-0.3)
    e_a, e_b = (math.exp(test.log_wealth[0]) for test in mixed.parts.values())
    assert math.exp(mixed.log_wealth[0]) == pytest.approx(0.25 * e_a + 0.75 * e_b)


def test_the_strongest_part_of_a_rollout_is_the_one_with_its_highest_e_value() -> None:
    """Part b says most in the first rollout, which is meant where none is named, and part a in the other."""
    mixed = MixedTest({"a": 0.2, "b": 0.5, "c": 0.3}, 2)
    for name, values in (("a", [0.1, 0.9]), ("b", [0.9, 0.1]), ("c", [0.1, 0.1])):
        mixed.parts[name].bet(values)
    assert (mixed.strongest_part(), mixed.strongest_part(0), mixed.strongest_part(1)) == ("b", "b", "a")


def test_there_is_one_rollout_and_no_margin_where_none_is_given() -> None:
    """Without a number of rollouts a test is of one, and without a margin it bets nothing on not worse."""
    paired = PairedTest()
    for value in (1.0, -1.0) * BURN_IN_VALUES:
        paired.observe(value)
    assert (paired.better.bets.tolist(), paired.not_worse.bets.tolist()) == ([BURN_IN_VALUES], [0])
    assert PredictableScale().value.shape == MixedTest({"a": 1.0}).log_wealth.shape == (1,)
