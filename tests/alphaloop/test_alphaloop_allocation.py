"""Allocation and costs: the maths that gates, backtest, paper and live share."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloop.allocation import (
    AllocationStrategy,
    next_weights,
    rank_scores,
    target_weights,
)
from alphaloop.costs import CostModel
from alphaloop.decision.weights import drift_weights, turnover
from alphaloop.errors import InputError
from alphaloop.settings.trading import TradingSettings

scores = arrays(np.float64, 8, elements=st.floats(-1e6, 1e6) | st.just(np.nan))
weights = arrays(np.float64, 8, elements=st.floats(0, 0.12))
policies = st.builds(
    AllocationStrategy,
    tilt=st.floats(0, 3),
    rate=st.floats(0.01, 1),
    band=st.floats(0, 1),
    gross=st.floats(0.1, 2),
)


@given(scores)
def test_ranks_have_mean_zero_and_deviation_one(values):
    """Missing stays missing, ties share, equal scores have no rank, and order is kept."""
    ranks = rank_scores(values)
    finite = np.isfinite(values)
    np.testing.assert_array_equal(np.isfinite(ranks), finite)
    if len(np.unique(values[finite])) > 1:
        assert abs(ranks[finite].mean()) < 1e-9
        assert abs(ranks[finite].std() - 1) < 1e-9
    else:
        assert (ranks[finite] == 0).all()
    first, second = values[finite][:-1], values[finite][1:]
    np.testing.assert_array_equal(np.sign(np.diff(ranks[finite])), np.sign(second - first).clip(-1, 1))


@given(scores, st.floats(1e-3, 1e3), st.floats(-10, 10))
def test_ranks_see_only_the_order(values, factor, shift):
    """A score's scale carries no meaning: any increasing change of it gives the same ranks."""
    changed = np.where(np.isfinite(values), values * factor + shift, np.nan)
    same_order = len(np.unique(changed)) == len(np.unique(values))
    assume(same_order)
    np.testing.assert_allclose(rank_scores(changed), rank_scores(values))


@given(scores, weights, policies)
def test_targets_sum_to_gross_and_are_never_short(values, current, policy):
    """Unscored symbols keep their weight, the others share the rest, none below zero."""
    target = target_weights(values, current, policy)
    scored = np.isfinite(values)
    np.testing.assert_array_equal(target[~scored], current[~scored])
    assert (target >= 0).all()
    if scored.any() and current[~scored].sum() < policy.gross:
        assert target.sum() == pytest.approx(policy.gross)
    else:
        np.testing.assert_array_equal(target, current)


@given(scores, weights, policies)
def test_a_bar_trades_part_of_the_way_and_not_inside_the_band(values, current, policy):
    """Each weight moves by the rate toward its target, or not at all; never past it."""
    target, after = target_weights(values, current, policy), next_weights(values, current, policy)
    if not current.any():
        np.testing.assert_array_equal(after, target)
        return
    distance = target - current
    inside = np.abs(distance) < policy.band * policy.gross / 8
    np.testing.assert_array_equal(after[inside], current[inside])
    np.testing.assert_allclose(after[~inside], (current + policy.rate * distance)[~inside], atol=1e-12)
    assert (after >= 0).all()


def test_equal_scores_hold_equal_weight_and_better_ones_more():
    """Without an opinion the book is equal weight; one deviation of rank adds the tilt."""
    policy = AllocationStrategy(tilt=0.5)
    np.testing.assert_allclose(target_weights(np.ones(4), np.zeros(4), policy), 0.25)
    np.testing.assert_allclose(target_weights([1, 2], np.zeros(2), policy), [0.25, 0.75])


def test_where_nothing_is_left_to_share_nothing_is_sold():
    """Where a symbol without a score has all of the gross, the others keep what they hold."""
    held = np.array([1.0, 0.25])
    np.testing.assert_array_equal(target_weights([np.nan, 1.0], held, AllocationStrategy()), held)


def test_weights_that_are_held_in_whole_numbers_do_not_round_the_target():
    """From whole numbers, as the nothing of a book in cash, targets are shares all the same."""
    np.testing.assert_allclose(target_weights([1, 2], np.array([0, 0]), AllocationStrategy()), [0.25, 0.75])


def test_a_distance_exactly_at_the_band_is_traded():
    """A target half an equal weight away is traded by a band of a half; only below is nothing traded."""
    policy = AllocationStrategy(tilt=0.5, band=0.5, rate=0.1)
    np.testing.assert_allclose(next_weights([1, 2], np.array([0.5, 0.5]), policy), [0.475, 0.525])
    wider = AllocationStrategy(tilt=0.5, band=0.51, rate=0.1)
    np.testing.assert_array_equal(next_weights([1, 2], np.array([0.5, 0.5]), wider), [0.5, 0.5])


@given(weights, arrays(np.float64, 8, elements=st.floats(-0.5, 0.5) | st.just(np.nan)))
def test_drift_follows_prices_and_cash_earns_nothing(current, returns):
    """The book's return is the weighted one, and what each symbol is worth grows by its own."""
    after, gain = drift_weights(current, returns)
    earned = np.nan_to_num(returns)
    assert gain == pytest.approx(float((current * earned).sum()))
    np.testing.assert_allclose(after * (1 + gain), current * (1 + earned), atol=1e-12)
    assert turnover(current, current) == 0
    assert turnover(current, after) == pytest.approx(np.abs(after - current).sum())


def test_drift_is_measured_by_the_books_return_where_that_is_given():
    """Weights that are half of what the book holds shrink by what the whole of it has gained."""
    after, gain = drift_weights(np.array([0.5]), np.array([0.1]), 0.25)
    assert (after.tolist(), gain) == ([pytest.approx(0.5 * 1.1 / 1.25)], 0.25)


@pytest.mark.parametrize("gain", [-1.0, -1.5])
def test_a_book_that_has_lost_all_it_had_holds_nothing(gain):
    """A loss of 100 % or more leaves no weight in any symbol, and the loss is told as it is."""
    after, told = drift_weights(np.array([0.5, 0.5]), np.array([0.1, -0.2]), gain)
    assert (after.tolist(), told) == ([0.0, 0.0], gain)


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"rate": 1.1}, {"tilt": -1}, {"band": -0.1}, {"gross": 0}])
def test_an_impossible_policy_is_refused(wrong):
    """The error names what cannot be."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AllocationStrategy(**wrong)


def test_policy_and_costs_come_from_settings():
    """What is set for trading is what allocates and costs."""
    settings = TradingSettings(
        tilt=1.5, rate=0.3, band=0.2, max_gross=0.9, commission_bps=2, half_spread_bps=3
    )
    assert AllocationStrategy.from_settings(settings) == AllocationStrategy(
        tilt=1.5, rate=0.3, band=0.2, gross=0.9
    )
    assert CostModel.from_settings(settings) == CostModel(2, 3)


@given(st.decimals(-(10**9), 10**9, places=4), st.floats(0, 100), st.floats(0, 100))
def test_costs_are_booked_finely_and_never_negative(notional, commission, spread):
    """Buying and selling cost the same, and the booked cost is the modelled one to the eighth decimal."""
    model = CostModel(commission, spread)
    cost = model.of_notional(notional)
    assert cost == model.of_notional(-notional) >= 0
    assert abs(cost - abs(notional) * Decimal(str(model.rate))) <= Decimal("5e-9")
    assert float(model.of_turnover(float(abs(notional)))) == pytest.approx(float(abs(notional)) * model.rate)


def test_a_negative_cost_is_refused():
    """Nobody is paid for trading."""
    with pytest.raises(ValueError, match="negative"):
        CostModel(-1, 4)


def test_many_small_trades_cost_what_a_large_one_does():
    """A thousand trades of 3.00 at 5 bps cost 1.50, as one of 3,000.00 does."""
    model = CostModel(1, 4)
    assert 1_000 * model.of_notional(Decimal(3)) == model.of_notional(Decimal(3_000)) == Decimal("1.5")


@pytest.mark.parametrize("bps", [10_000, 9_999, 15_000, float("inf"), float("nan")])
def test_costs_of_all_that_is_traded_are_refused(bps):
    """From 100 % on, trading would pay more than it moves; below, costs may be high."""
    if bps == 9_999:
        assert CostModel(0, bps).rate == pytest.approx(0.9999)
        return
    with pytest.raises(InputError, match="below 10,000 basis points"):
        CostModel(0, bps)
