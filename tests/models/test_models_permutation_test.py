"""The permutation test and the t-statistic beside it: persistence alone is no evidence."""

from __future__ import annotations

import math
from itertools import permutations as orders

import numpy as np
import pytest

from alphaloop.statistics.information_coefficient import information_coefficients
from alphaloop.statistics.newey_west import newey_west_tstat
from models.evaluation.horizon_tstat import horizon_tstat
from models.evaluation.permutation_test import group_by_membership, permutation_test
from models.labels import forward_returns

HORIZON = 5


def labels_of(bars: int, names: int, seed: int, betas: np.ndarray | None = None) -> np.ndarray:
    """Five-bar labels of independent returns, with a market factor where there are `betas`."""
    random = np.random.default_rng(seed)
    returns = random.normal(0, 0.02, (bars, names))
    if betas is not None:
        returns += random.normal(0, 0.01, (bars, 1)) * betas
    return forward_returns(100 * np.exp(np.cumsum(returns, axis=0)), HORIZON)


def constant(bars: int, values: np.ndarray) -> np.ndarray:
    """The same scores on every bar."""
    return np.broadcast_to(values, (bars, len(values))).copy()


def test_the_p_value_is_the_share_of_orders_that_do_as_well() -> None:
    """With five names every order can be tried: the drawn share is near the true one, counted by hand."""
    labels = labels_of(300, 5, seed=3)
    scores = np.random.default_rng(1).normal(size=(300, 5)).cumsum(axis=0)
    true = newey_west_tstat(information_coefficients(scores, labels), 3 * HORIZON)
    others = [
        newey_west_tstat(information_coefficients(scores[:, list(order)], labels), 3 * HORIZON)
        for order in orders(range(5))
    ]
    share = np.mean([other >= true - 1e-9 for other in others])
    found = permutation_test(scores, labels, HORIZON, permutations=4_000, seed=7)
    assert found.arrangements == 120
    assert found.pvalue == pytest.approx(share, abs=0.03)
    assert found == permutation_test(scores, labels, HORIZON, permutations=4_000, seed=7)


def test_a_constant_ranking_passes_no_more_often_than_it_may() -> None:
    """Of 120 skilless constant rankings of 20 names about as many are below 10 % as should be."""
    rankings = np.random.default_rng(11).normal(size=(120, 20))
    found = [
        permutation_test(
            constant(260, ranking), labels_of(260, 20, seed), HORIZON, permutations=200, seed=1
        ).pvalue
        for seed, ranking in enumerate(rankings)
    ]
    # 12 are expected; 21 or more come by chance in 1 of 100.
    assert sum(pvalue <= 0.1 for pvalue in found) <= 20
    assert 0.35 < np.median(found) < 0.65


def test_a_ranking_by_beta_is_not_taken_for_skill() -> None:
    """With a market factor and no alpha, ranks by beta have large ICs of either sign and no small p-value."""
    betas = np.linspace(0.4, 1.6, 20)
    found = [
        permutation_test(
            constant(400, betas), labels_of(400, 20, seed, betas), HORIZON, permutations=400, seed=1
        ).pvalue
        for seed in range(60)
    ]
    assert sum(pvalue <= 0.01 for pvalue in found) <= 3


def test_skill_is_found() -> None:
    """Scores that foretell a little of every label have the smallest p-value that there can be."""
    labels = labels_of(600, 20, seed=2)
    noise = np.random.default_rng(4).normal(size=labels.shape)
    scores = 0.2 * np.nan_to_num(labels / 0.045) + noise
    assert permutation_test(scores, labels, HORIZON, permutations=1_000, seed=1).pvalue == 1 / 1_001


def test_names_are_exchanged_among_those_of_the_same_membership() -> None:
    """Names that were there at other times keep their scores; a few gaps make no other membership."""
    present = np.ones((200, 9), dtype=bool)
    present[:, 6:] = False
    present[:100, 3:6] = False
    present[100:, 6:] = True
    present[:100, 8] = True
    present[50:60, 1] = False
    groups = [sorted(group.tolist()) for group in group_by_membership(present)]
    assert sorted(groups) == [[0, 1, 2, 8], [3, 4, 5, 6, 7]]
    labels = labels_of(200, 9, seed=5)
    scores = np.where(present, np.random.default_rng(1).normal(size=(200, 9)), np.nan)
    found = permutation_test(scores, labels, HORIZON, permutations=1_000, seed=1)
    assert found.arrangements == math.factorial(4) * math.factorial(5)


def test_what_tells_the_memberships_apart_is_no_evidence() -> None:
    """That old names do worse than new ones, as their scores say, is in every permutation as well."""
    random = np.random.default_rng(6)
    scores = random.normal(size=(500, 20)) + np.where(np.arange(20) < 10, -5.0, 5.0)
    labels = random.normal(size=(500, 20)) + np.where(np.arange(20) < 10, -0.3, 0.3)
    scores[:100, 10:] = np.nan
    scores[450:, :10] = np.nan
    assert permutation_test(scores, labels, HORIZON, permutations=1_000, seed=1).pvalue > 0.05
    scores[:100, 10:], scores[450:, :10] = 5.0 + random.normal(size=(100, 10)), -5.0
    assert permutation_test(scores, labels, HORIZON, permutations=1_000, seed=1).pvalue < 0.01


def test_few_bars_or_names_have_no_small_p_value() -> None:
    """Three names have six orders, and no bars have no p-value."""
    labels = labels_of(300, 3, seed=1)
    hints = np.nan_to_num(labels) + np.random.default_rng(2).normal(0, 0.02, labels.shape)
    splendid = permutation_test(hints, labels, HORIZON, permutations=1_000, seed=1)
    assert splendid.arrangements == 6 and splendid.pvalue == pytest.approx(1 / 6, abs=0.04)
    assert math.isnan(permutation_test(labels[:15], labels[:15], HORIZON, permutations=1_000, seed=1).pvalue)
    assert math.isnan(permutation_test(hints, labels, HORIZON, permutations=0, seed=1).pvalue)


def test_what_has_no_statistic_has_no_p_value() -> None:
    """Scores that are the labels have an IC of one on every bar, which varies by nothing: no t, and no p."""
    labels = np.random.default_rng(1).normal(size=(100, 4))
    scores = np.argsort(np.argsort(labels, axis=1), axis=1).astype(float)
    alike = np.tile(scores[:1], (100, 1))
    assert math.isnan(permutation_test(alike, alike, HORIZON, permutations=1_000, seed=1).pvalue)


@pytest.mark.parametrize("horizon", [1, 5, 10])
def test_the_t_of_a_constant_ranking_varies_as_it_should(horizon: int) -> None:
    """Without skill it varies by about one, and exceeds 2.33 to either side about once in fifty."""
    random, found = np.random.default_rng(8), []
    for _ in range(400):
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, (500, 12)), axis=0))
        ranking = constant(500, random.normal(size=12))
        coefficients = information_coefficients(ranking, forward_returns(close, horizon))
        found.append(horizon_tstat(coefficients, horizon))
    assert 0.9 < np.std(found) < 1.08
    assert np.mean(np.abs(found) > 2.33) < 0.04


def test_the_textbooks_statistic_stays_the_textbooks() -> None:
    """`newey_west_tstat` has the lags it is given; that of a horizon has three of them, scaled down."""
    values = np.convolve(np.random.default_rng(2).normal(0.1, 1, 405), np.ones(5), "valid")
    centred = values - values.mean()
    covariances = [float(centred[lag:] @ centred[: len(centred) - lag]) for lag in range(16)]

    def textbook(lags: int) -> float:
        variance = covariances[0] + 2 * sum(
            (1 - lag / (lags + 1)) * covariances[lag] for lag in range(1, lags + 1)
        )
        return float(values.mean() * len(values) / math.sqrt(variance))

    assert newey_west_tstat(values, 5) == pytest.approx(textbook(5))
    # Of 401 values 16 are a share of 0.0399: Kiefer and Vogelsang's bound at 1 % is 2.4932 instead of 2.3263.
    # Overlaps of 4, 3, 2 and 1 of 5 bars are 5 times the variance, of which Bartlett's weights see 4.5.
    expected = textbook(15) * 2.3263 / 2.4932 * math.sqrt(4.5 / 5)
    assert horizon_tstat(values, 5) == pytest.approx(expected, rel=1e-4)
    assert horizon_tstat(values, 1) == pytest.approx(textbook(3) * 2.3263 / 2.3679, rel=1e-4)
    assert math.isnan(horizon_tstat(values[:17], 5)) and not math.isnan(horizon_tstat(values[:18], 5))
