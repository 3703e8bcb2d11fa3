"""Correlation across assets and regimes: independent references, and nothing of the future."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from alphaloop.bars import to_datetime
from alphaloop.errors import DataError, InputError
from features import catalogue
from features.engine.graph import Graph
from features.engine.operator import Axes, Matrix, Operator
from features.engine.operators.pairwise import AverageCorrelation
from features.indicators.hidden_markov import USUAL, GaussianMarkov, fit_hidden_markov

TIMES = np.datetime64("2015-01-02T21:00", "ns") + np.arange(3000) * np.timedelta64(1, "D")


def axes(shape: tuple[int, ...]) -> Axes:
    """Daily bars of so many symbols."""
    return Axes(TIMES[: shape[0]], tuple(f"S{index}" for index in range(shape[1])))


def factory(name: str, **parameters: Any) -> Operator:
    """The operator of the indicator `name`."""
    return catalogue.find_indicator(name).factory(**parameters)


def run(name: str, *series: np.ndarray, output: int = 0, **parameters: Any) -> np.ndarray:
    """The indicator `name` over series `[T]`."""
    given = tuple(np.asarray(one, dtype=np.float64)[:, None] for one in series)
    return factory(name, **parameters).batch(given, axes(given[0].shape))[output][:, 0]


def streamed(operator: Operator, inputs: tuple[Matrix, ...], history: int) -> Matrix:
    """The first output of a stream that begins after `history` bars, all others NaN."""
    whole = axes(inputs[0].shape)
    past = Axes(whole.times[:history], whole.symbols)
    handle = operator.stream(tuple(values[:history] for values in inputs), past)
    rows = [
        handle.update(tuple(values[row] for values in inputs), whole.times[row])[0]
        for row in range(history, len(inputs[0]))
    ]
    return np.vstack([np.full((history, inputs[0].shape[1]), np.nan), *rows])


def test_correlation_and_beta_are_those_of_numpy() -> None:
    """Correlation, covariance, beta and residual volatility equal numpy's over the window."""
    random = np.random.default_rng(1)
    benchmark = random.normal(0, 0.01, 200)
    asset = 1.3 * benchmark + random.normal(0, 0.01, 200)
    one, other = asset[-60:], benchmark[-60:]
    covariance = np.cov(one, other)
    assert run("rolling_correlation", asset, benchmark)[-1] == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert run("rolling_covariance", asset, benchmark)[-1] == pytest.approx(covariance[0, 1])
    assert run("rolling_beta", asset, benchmark)[-1] == pytest.approx(covariance[0, 1] / covariance[1, 1])
    slope, intercept = np.polyfit(other, one, 1)
    left = one - intercept - slope * other
    assert run("residual_volatility", asset, benchmark)[-1] == pytest.approx(
        math.sqrt((left**2).sum() / 58), rel=1e-9
    )
    assert math.isnan(run("rolling_beta", asset, np.full(200, 0.1))[-1])


def test_downside_beta_is_the_slope_of_falls_alone() -> None:
    """An asset that follows falls twice and rises not at all has downside beta 2; one fall is no slope."""
    random = np.random.default_rng(2)
    benchmark = random.normal(0, 0.01, 2001)
    below = benchmark < benchmark[-2000:].mean()
    asset = np.where(below, 2 * benchmark, 0.003)
    assert run("downside_beta", asset, benchmark, length=2000)[-1] == pytest.approx(2, rel=1e-9)
    few = np.where(np.arange(120) == 60, -0.01, 0.001)
    assert math.isnan(run("downside_beta", few, few)[-1])


def test_beta_against_a_benchmark_column_is_found_from_prices() -> None:
    """By default the pair is the returns of the close and of the column `benchmark`."""
    random = np.random.default_rng(3)
    market = random.normal(0, 0.01, 400)
    benchmark = 100 * np.cumprod(1 + market)
    close = 20 * np.cumprod(1 + 0.7 * market)
    graph = Graph([catalogue.build_indicator("rolling_beta").output()])
    inputs = {"close": close[:, None], "benchmark": benchmark[:, None]}
    ((_, found),) = graph.batch(inputs, axes((400, 1)))
    np.testing.assert_allclose(found[61:, 0], 0.7, rtol=1e-9)
    assert np.isnan(found[:60, 0]).all()


def test_the_universe_is_the_mean_of_its_symbols() -> None:
    """A symbol that is the universe has correlation and beta 1 with it; the return is the mean of those that
    have one.
    """
    random = np.random.default_rng(4)
    close = 50 * np.exp(np.cumsum(random.normal(0, 0.01, (100, 3)), axis=0))
    close[40, 2] = np.nan
    graph = Graph([catalogue.build_indicator(name).output() for name in ("universe_return", "universe_beta")])
    found = dict(graph.batch({"close": close}, axes(close.shape)))
    returns = close[1:] / close[:-1] - 1
    np.testing.assert_allclose(found[0][1:40], np.repeat(returns[:39].mean(axis=1)[:, None], 3, axis=1))
    assert found[0][40, 0] == pytest.approx(returns[39, :2].mean())
    alone = dict(graph.batch({"close": close[:, :1]}, axes((100, 1))))
    np.testing.assert_allclose(alone[1][61:], 1.0, rtol=1e-9)


def test_average_correlation_is_the_mean_of_all_pairs() -> None:
    """The mean over pairs equals numpy's correlation matrix; a symbol with a gap or without variation is
    left out, and a stream says the same.
    """
    random = np.random.default_rng(5)
    returns = random.normal(0, 0.01, (200, 6)) + random.normal(0, 0.01, (200, 1))
    returns[150, 4] = np.nan
    returns[:, 5] = 0.1
    operator = AverageCorrelation(30)
    (found,) = operator.batch((returns,), axes(returns.shape))

    def expected(window: np.ndarray) -> float:
        matrix = np.corrcoef(window.T)
        return float(matrix[np.triu_indices(len(matrix), 1)].mean())

    assert found[149, 0] == pytest.approx(expected(returns[120:150, :5]), rel=1e-9)
    assert found[160, 0] == pytest.approx(expected(returns[131:161, :4]), rel=1e-9)
    assert found[199, 5] == found[199, 0]
    assert math.isnan(found[150, 4])
    np.testing.assert_allclose(streamed(operator, (returns,), 100)[100:], found[100:], rtol=1e-12)
    (alone,) = operator.batch((returns[:, :1],), axes((200, 1)))
    assert np.isnan(alone).all()


def _straight(count: int) -> np.ndarray:
    return 100 * 1.004 ** np.arange(count)


def test_the_rules_tell_regimes_apart() -> None:
    """A straight rise is a trend up, a straight fall a trend down, noise around a level is sideways, an
    outbreak is volatile, and constant prices are sideways: always exactly one of the three.
    """
    random = np.random.default_rng(6)
    calm = random.normal(0, 0.004, 400)
    wave = 100 * np.exp(0.01 * np.sin(np.arange(400)) + calm / 4)
    wild = 100 * np.exp(np.cumsum(np.concatenate([calm[:379], random.normal(0, 0.05, 21)])))
    drift = np.concatenate([np.zeros(370), np.full(30, 0.004)])
    rise = 100 * np.exp(np.cumsum(random.normal(0, 0.004, 400) * (drift == 0) + drift))
    fall = 1e4 / rise
    expected = {
        "trend": [(rise, 1.0), (fall, -1.0), (_straight(400), 1.0)],
        "sideways": [(wave, 0.0), (np.full(400, 7.7), 0.0)],
        "volatile": [(wild, 0.0)],
    }
    names = ("trend", "sideways", "volatile")
    for regime, cases in expected.items():
        for place, (close, direction) in enumerate(cases):
            found = [run("market_regime", close, output=index)[-1] for index in range(4)]
            assert found[:3] == [float(name == regime) for name in names], (regime, place)
            assert found[3] == direction


def test_volatile_is_what_the_past_never_was() -> None:
    """The last bars are held against earlier ones alone: a little wilder than all of these is volatile at any
    share, and just as wild is not.
    """
    steps = np.random.default_rng(9).choice([-0.01, 0.01], 253)
    for growth, expected in ((1.05, 1.0), (1.0, 0.0)):
        close = np.cumprod(1 + np.concatenate([steps[:-21], steps[-21:] * growth]))
        assert run("market_regime", close, output=2, share=1.0)[-1] == expected


def test_efficiency_and_rank_of_volatility() -> None:
    """A straight line is efficient to 1, a return to the start to 0; the calmest stretch has rank -1 and the
    wildest 1.
    """
    assert run("efficiency_ratio", np.arange(1.0, 40.0))[-1] == pytest.approx(1)
    assert run("efficiency_ratio", np.tile([1.0, 2.0], 20)[:-1], length=20)[-1] == 0
    noise = np.random.default_rng(7).choice([-1.0, 1.0], 400)
    for growth, expected in ((1.0, 1.0), (-1.0, -1.0)):
        size = 0.01 * np.exp(growth * np.linspace(0, 4, 400))
        assert run("volatility_rank", np.exp(np.cumsum(noise * size)))[-1] == expected
    with pytest.raises(InputError, match="history is 20"):
        catalogue.build_indicator("volatility_rank", named={"history": 20})
    with pytest.raises(InputError, match="history is 60"):
        catalogue.build_indicator("market_regime", named={"history": 60})


def simulated(count: int = 2500, seed: int = 8) -> tuple[np.ndarray, np.ndarray, GaussianMarkov]:
    """Log returns of a known model, their states, and the model."""
    model = GaussianMarkov((0.5, 0.5), ((0.97, 0.03), (0.06, 0.94)), (0.001, -0.002), (0.006, 0.025))
    random = np.random.default_rng(seed)
    states = np.zeros(count, dtype=int)
    for bar in range(1, count):
        states[bar] = random.choice(2, p=model.transitions[states[bar - 1]])
    returns = random.normal(np.array(model.means)[states], np.array(model.deviations)[states])
    return returns, states, model


def closes(returns: np.ndarray) -> np.ndarray:
    """Prices with these log returns, one more than they are."""
    return 100 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))


UNTIL = to_datetime(TIMES[1999])


@pytest.fixture(scope="module")
def fitted() -> GaussianMarkov:
    """The model of the first 2,000 simulated returns."""
    returns, _, _ = simulated()
    return fit_hidden_markov(returns, TIMES[:2500], UNTIL, states=2, seed=3)


def test_a_known_model_is_recovered(fitted: GaussianMarkov) -> None:
    """From 2,000 returns the fit finds deviations, persistence and means of the model that made them."""
    _, _, model = simulated()
    np.testing.assert_allclose(fitted.deviations, model.deviations, rtol=0.1)
    np.testing.assert_allclose(fitted.transitions, model.transitions, atol=0.03)
    np.testing.assert_allclose(fitted.means, model.means, atol=0.003)


def test_a_fit_sees_nothing_after_until(fitted: GaussianMarkov) -> None:
    """Other returns after `until`, or none at all, give the identical numbers."""
    returns, _, _ = simulated()
    changed = returns.copy()
    changed[2000:] = np.random.default_rng(1).normal(5, 3, 500)
    assert fit_hidden_markov(changed, TIMES[:2500], UNTIL, states=2, seed=3).numbers == fitted.numbers
    assert fit_hidden_markov(returns[:2000], TIMES[:2000], UNTIL, states=2, seed=3).numbers == fitted.numbers
    earlier = changed.copy()
    earlier[1999] = 0.3
    assert fit_hidden_markov(earlier, TIMES[:2500], UNTIL, states=2, seed=3).numbers != fitted.numbers


def test_probabilities_are_filtered_forward(fitted: GaussianMarkov) -> None:
    """The feature at t is what hmmlearn's posterior says of the last of the returns up to t alone, and they
    tell the true states apart.
    """
    from hmmlearn.hmm import GaussianHMM

    returns, states, _ = simulated()
    found = run("hidden_markov", closes(returns), state=1, model=fitted.text)[1:]
    reference = GaussianHMM(2, "diag")
    reference.startprob_, reference.transmat_ = np.array(fitted.start), np.array(fitted.transitions)
    reference.means_ = np.array(fitted.means)[:, None]
    reference.covars_ = np.array(fitted.deviations)[:, None] ** 2
    for last in (0, 1, 2, 50, 700, 1999, 2499):
        posterior = reference.predict_proba(returns[: last + 1, None])[-1, 1]
        assert found[last] == pytest.approx(posterior, rel=1e-8, abs=1e-14)
    smoothed = reference.predict_proba(returns[:, None])[:, 1]
    assert np.abs(smoothed - found).max() > 0.3
    assert ((found[2000:] > 0.5) == (states[2000:] == 1)).mean() > 0.9


@pytest.mark.parametrize("state", [0, 1])
def test_regime_probabilities_stream_and_see_no_later_bar(state: int) -> None:
    """Batch and stream agree, with gaps too, and other later bars change nothing before."""
    returns, _, _ = simulated(400)
    close = np.column_stack([closes(returns), closes(returns[::-1])])
    close[100:110, 1] = np.nan
    operator = factory("hidden_markov", state=state)
    (found,) = operator.batch((close,), axes(close.shape))
    np.testing.assert_allclose(streamed(operator, (close,), 150)[150:], found[150:], rtol=1e-9)
    later = close.copy()
    later[250:] *= 3
    (other,) = operator.batch((later,), axes(close.shape))
    np.testing.assert_array_equal(found[:250], other[:250])
    assert (found[250:] != other[250:]).any()
    assert ((found >= 0) & (found <= 1) | np.isnan(found)).all()
    assert np.isnan(found[100:110, 1]).all() and np.isfinite(found[110, 1])


def test_no_return_is_too_far_out() -> None:
    """A crash that no state can explain still gives probabilities, and the filter goes on after it."""
    close = np.array([100.0, 101.0, 1e-6, 1e-6, 1e12, 1e12])
    found = [run("hidden_markov", close, state=state)[1:] for state in (0, 1)]
    np.testing.assert_allclose(found[0] + found[1], 1.0)
    assert found[1][1] == 1


def test_a_model_is_numbers_and_comes_back_from_its_text(fitted: GaussianMarkov) -> None:
    """The text gives back the same bits, the calmest state is first, and it changes a feature's key."""
    assert GaussianMarkov.of(fitted.text) == fitted
    assert fitted.deviations[0] < fitted.deviations[1]
    assert all(isinstance(one, float) for one in fitted.numbers)
    ours, usual = (
        catalogue.build_indicator("hidden_markov", named={"model": text})
        for text in (fitted.text, USUAL.text)
    )
    assert ours.key != usual.key and usual.key == catalogue.build_indicator("hidden_markov").key


def test_symbols_share_a_model_and_states_may_be_three() -> None:
    """Several symbols' returns with gaps give one model of three states whose probabilities add up to 1."""
    returns = np.column_stack([simulated(600, seed)[0] for seed in (1, 2, 3)])
    returns[:50, 1] = np.nan
    model = fit_hidden_markov(returns, TIMES[:600], to_datetime(TIMES[599]), states=3)
    assert model.states == 3 and list(model.deviations) == sorted(model.deviations)
    close = closes(simulated(50)[0])
    total = sum(run("hidden_markov", close, state=state, model=model.text) for state in range(3))
    np.testing.assert_allclose(total[1:], 1.0)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: GaussianMarkov.of("two states"), "not made of numbers"),
        (lambda: GaussianMarkov.of(""), "begin with the number of states"),
        (lambda: GaussianMarkov.of("2 0.5 0.5"), "3 numbers"),
        (lambda: GaussianMarkov.of("1 1 1 0 -1"), "deviations"),
        (lambda: GaussianMarkov.of("1 1 1 nan 1"), "means"),
        (lambda: GaussianMarkov.of("1 0.5 1 0 1"), "add up to 1"),
        (lambda: GaussianMarkov.of("9 " + "1 " * 108), "1 to 8"),
        (lambda: catalogue.build_indicator("hidden_markov", named={"state": 2}), "state is 2"),
        (lambda: fit_hidden_markov(np.zeros(100), TIMES[:99], UNTIL), "shape"),
        (lambda: fit_hidden_markov(np.zeros(100), TIMES[:100], UNTIL, states=9), "states is 9"),
    ],
)
def test_what_is_no_model_is_refused(build: Callable[[], object], words: str) -> None:
    """A wrong text, state or shape is named."""
    with pytest.raises(InputError, match=words):
        build()


def test_too_few_and_constant_returns_have_no_states() -> None:
    """Nothing can be fitted on a handful of returns, or on ones that do not vary."""
    returns, _, _ = simulated(100)
    with pytest.raises(DataError, match="at least 60"):
        fit_hidden_markov(returns, TIMES[:100], to_datetime(TIMES[40]))
    with pytest.raises(DataError, match="constant"):
        fit_hidden_markov(np.full(100, 0.001), TIMES[:100], datetime(2030, 1, 1, tzinfo=UTC))
