"""Risk limits hold whatever is asked for."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alphaloop.settings.trading import TradingSettings
from trading.risk.risk_check import Refusal, RiskCheck, RiskLimits

SLEEVES, SYMBOLS = ("a", "b", "c"), ("A", "B", "C", "D")
weights = arrays(np.float64, (3, 4), elements=st.floats(0, 1))
switches = arrays(np.bool_, 3)


@given(weights, weights, switches)
def test_what_is_allowed_obeys_every_limit(wanted, current, reduce_only):
    """No name above its cap, no purchase that lifts gross above the limit, no growth where reduce-only."""
    limits = RiskLimits(max_gross=0.8, max_weight=0.3)
    allowed, _ = RiskCheck(limits).clip(wanted, current, SLEEVES, SYMBOLS, reduce_only)
    assert (allowed <= limits.max_weight + 1e-12).all()
    assert (allowed >= -1e-12).all()
    assert (allowed <= np.maximum(wanted, current) + 1e-12).all()
    assert (allowed[reduce_only] <= current[reduce_only] + 1e-12).all()
    grows = (allowed > current + 1e-12).any(axis=1)
    assert (allowed[grows].sum(axis=1) <= limits.max_gross + 1e-9).all()


@given(weights, weights)
def test_what_is_within_the_limits_passes_unchanged(wanted, current):
    """Wide limits change nothing and refuse nothing."""
    check = RiskCheck(RiskLimits(max_gross=10, max_weight=1))
    allowed, refusals = check.clip(wanted, current, SLEEVES, SYMBOLS, np.zeros(3, dtype=bool))
    np.testing.assert_array_equal(allowed, wanted)
    assert refusals == []


def test_refusals_name_the_figure_and_the_limit():
    """A cap and a gross that were cut say which sleeves, which symbol, how much and how much is allowed."""
    wanted = np.array([[0.5, 0.0], [0.1, 0.1], [0.4, 0.9]])
    check = RiskCheck(RiskLimits(max_gross=0.6, max_weight=0.45))
    _, refusals = check.clip(wanted, np.zeros((3, 2)), SLEEVES, SYMBOLS[:2], np.zeros(3, dtype=bool))
    assert refusals == [
        Refusal("max_weight", "A would be 50.0% of a sleeve; the cap is 45.0%", ("a",), "A"),
        Refusal("max_weight", "B would be 90.0% of a sleeve; the cap is 45.0%", ("c",), "B"),
        Refusal("max_gross", "gross would be 85.0%; the limit is 60.0%", ("c",)),
    ]
    assert [Refusal.from_body(one.to_body()) for one in refusals] == refusals


def test_drift_above_gross_forces_no_sale():
    """A book that grew above its gross by prices alone keeps what it has, and buys nothing."""
    current = np.array([[0.7, 0.6]])
    check = RiskCheck(RiskLimits(max_gross=1.0, max_weight=1.0))
    allowed, _ = check.clip(
        current + np.array([[0.1, 0.0]]), current, ("a",), SYMBOLS[:2], np.zeros(1, dtype=bool)
    )
    np.testing.assert_allclose(allowed, current)


def test_a_drawdown_at_the_limit_makes_every_sleeve_reduce_only():
    """The refusal names equity, peak and limit; below the limit there is none."""
    check = RiskCheck(RiskLimits(max_drawdown=0.2))
    assert check.drawdown(Decimal(81), Decimal(100), SLEEVES) == []
    (refusal,) = check.drawdown(Decimal(80), Decimal(100), SLEEVES)
    assert refusal == Refusal(
        "drawdown", "equity 80.00 is 20.0% below 100.00; the limit is 20.0%: reduce-only", SLEEVES
    )
    (refusal,) = check.drawdown(Decimal(-5), Decimal(0), SLEEVES)
    assert refusal.reason == "equity -5.00 is 100.0% below 0.00; the limit is 20.0%: reduce-only"


def test_the_drawdown_of_a_tiny_book_is_its_share_too():
    """A book whose highest equity is one unit of money or less is measured as any other is."""
    check = RiskCheck(RiskLimits(max_drawdown=0.2))
    assert check.drawdown(Decimal("0.9"), Decimal(1), SLEEVES) == []
    (refusal,) = check.drawdown(Decimal("0.3"), Decimal("0.5"), SLEEVES)
    assert refusal.reason == "equity 0.30 is 40.0% below 0.50; the limit is 20.0%: reduce-only"


def test_a_sleeve_with_anything_left_is_not_ruined():
    """Half a unit of money is equity; none and less are ruin, and the least of it is told."""
    (refusal,) = RiskCheck().ruin([0.5, 0.0, -3.0], SLEEVES)
    assert (refusal.rule, refusal.sleeves) == ("ruin", ("b", "c"))
    assert refusal.reason.startswith("equity is -3.00: nothing is left")


def test_a_bar_exactly_at_the_limit_of_its_age_is_traded():
    """As old as the limit, or as far ahead of the clock, is allowed; beyond, both figures are told."""
    check = RiskCheck(RiskLimits(max_bar_age=timedelta(minutes=1)))
    assert check.missed(timedelta(minutes=1), SLEEVES) == []
    assert check.clock_skew(timedelta(minutes=-1), SLEEVES) == []
    assert check.missed(timedelta(minutes=3), SLEEVES) == [
        Refusal("bar_age", "missed: the bar is 0:03:00 old; the limit is 0:01:00: no order", SLEEVES)
    ]
    ahead = "the bar closes 0:03:00 after the engine's clock; the limit is 0:01:00: reduce-only"
    assert check.clock_skew(timedelta(minutes=-3), SLEEVES) == [Refusal("clock_skew", ahead, SLEEVES)]


def test_a_disputed_symbol_is_named_with_the_cause():
    """The refusal of a disputed symbol says which symbol it is and that its providers disagree."""
    reason = "providers disagree about its bar and nothing could decide: reduce-only"
    assert RiskCheck().disputes(["B", "D"], SLEEVES) == [
        Refusal("disputed", f"B: {reason}", SLEEVES, "B"),
        Refusal("disputed", f"D: {reason}", SLEEVES, "D"),
    ]


def test_a_cap_that_is_not_set_depends_on_the_number_of_names():
    """Of four names each may have 62.5 %; what is journaled for a book says its cap, and a set one stays."""
    assert [RiskLimits().for_names(names).max_weight for names in (4, 100)] == [0.625, 0.15]
    assert RiskLimits(max_weight=0.3).for_names(4).max_weight == 0.3
    wanted = np.array([[0.9, 0.0, 0.0, 0.0]])
    allowed, _ = RiskCheck().clip(wanted, np.zeros((1, 4)), ("a",), SYMBOLS, np.zeros(1, dtype=bool))
    assert allowed[0].tolist() == [0.625, 0, 0, 0]


def test_a_sleeve_exactly_at_the_cap_is_not_among_those_that_are_cut():
    """A refusal names the sleeves that want more of a symbol than the cap, and no other."""
    wanted = np.array([[0.5], [0.45]])
    check = RiskCheck(RiskLimits(max_weight=0.45))
    _, refusals = check.clip(wanted, np.zeros((2, 1)), SLEEVES[:2], SYMBOLS[:1], np.zeros(2, dtype=bool))
    assert [(one.symbol, one.sleeves) for one in refusals] == [("A", ("a",))]


@pytest.mark.parametrize(("wanted", "rules"), [(0.51, []), (0.52, ["max_gross"])])
def test_gross_above_its_limit_by_the_tolerance_is_trimmed_without_a_word(wanted, rules):
    """Of 101 % only 100 % is held and nothing is told; of 102 % too, and it is told."""
    check = RiskCheck(RiskLimits(max_gross=1.0, max_weight=1.0))
    allowed, refusals = check.clip(
        np.array([[wanted, 0.5]]), np.zeros((1, 2)), ("a",), SYMBOLS[:2], np.zeros(1, dtype=bool)
    )
    assert allowed.sum() == pytest.approx(1.0)
    assert [one.rule for one in refusals] == rules


def test_limits_come_from_settings_and_survive_the_journal():
    """Every limit is read from settings, and its journal form reads back equal."""
    limits = RiskLimits.from_settings(
        TradingSettings(
            max_gross=0.9, max_weight=0.2, max_drawdown=0.3, max_bar_age_seconds=90, prediction_deadline_ms=7
        )
    )
    assert limits == RiskLimits(
        max_gross=0.9,
        max_weight=0.2,
        max_drawdown=0.3,
        max_bar_age=timedelta(seconds=90),
        prediction_deadline_ms=7,
    )
    for one in (limits, RiskLimits(max_bar_age=timedelta(hours=1), max_feature_age=timedelta(days=1))):
        assert RiskLimits.from_body(one.to_body()) == one


@pytest.mark.parametrize(
    "wrong",
    [{"max_gross": 0}, {"max_weight": -1}, {"max_weight": 0}, {"max_drawdown": 1.5}, {"max_drawdown": 0}],
)
def test_an_impossible_limit_is_refused(wrong):
    """A limit that is no limit is an error when it is made."""
    with pytest.raises(ValueError, match="limits"):
        RiskLimits(**wrong)
