"""Outcomes are those of the first obtainable price."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alphaloop.statistics.information_coefficient import information_coefficient
from alphaloop.statistics.matured_labels import simple_returns
from monitoring.drift.episodes import first_bars


def test_a_perfect_ranking_has_coefficient_one_and_a_reversed_one_minus_one() -> None:
    """Spearman's correlation depends on the order alone."""
    outcomes = np.array([0.01, -0.02, 0.5, 0.0])
    assert information_coefficient(np.exp(outcomes), outcomes) == pytest.approx(1.0)
    assert information_coefficient(-outcomes, outcomes) == pytest.approx(-1.0)


def test_the_coefficient_agrees_with_scipy() -> None:
    """Ranks with ties give SciPy's Spearman correlation."""
    from scipy.stats import spearmanr

    rng = np.random.default_rng(3)
    scores, outcomes = rng.integers(0, 5, 30).astype(float), rng.normal(size=30)
    assert information_coefficient(scores, outcomes) == pytest.approx(spearmanr(scores, outcomes).statistic)


def test_missing_values_are_left_out_and_too_few_give_nothing() -> None:
    """NaN on either side drops the symbol; under three symbols, or without variation, there is no figure."""
    assert information_coefficient([1, 2, 3, np.nan], [1, 2, 3, -9]) == pytest.approx(1.0)
    assert math.isnan(information_coefficient([1, 2, np.nan], [1, 2, 3]))
    assert math.isnan(information_coefficient([1, 1, 1], [1, 2, 3]))


def test_returns_are_simple() -> None:
    """The return between closes of 100 and 110 is a tenth."""
    assert simple_returns(np.array([100.0]), np.array([110.0])) == pytest.approx([0.1])


def test_flagged_bars_closer_than_the_gap_are_one_episode() -> None:
    """An episode lasts as long as flags come within the gap, however long that is."""
    assert first_bars([1, 2, 20, 41, 63, 90], gap=21) == [1, 63, 90]
