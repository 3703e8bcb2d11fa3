"""The stages of a rollout: what follows when, and what each waits for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollouts.evidence.expected_ranges import ExpectedRange, ExpectedRanges
from rollouts.evidence.layers import EvidenceLayers, PairedMeasurements
from rollouts.rollback_decision import Move, RolloutStage, next_move
from rollouts.rollout_policy_settings import RolloutPolicy
from rollouts.validation.power import bars_required, bars_to_find

POLICY = RolloutPolicy(
    shadow_bars=5,
    stage_bars=10,
    max_bars=84,
    weights=(0.05, 0.25, 0.5),
    false_rollback=0.01,
    false_promotion=0.05,
)
HONEST = ExpectedRanges(
    ic_floor=-0.02, ic_scale=0.28, turnover_ceiling=0.075, turnover_mean=0.02, turnover_ratio=2.6
)
CLEARED = {"no_skill": True, "turnover": True, "inverted_ranks": True}
SPLENDID = replace(HONEST, ic_floor=0.34)


def _move(
    stage: RolloutStage, *, against: bool = False, favour: bool = False, not_worse: bool = False
) -> Move:
    return next_move(stage, POLICY, against=against, favour=favour, not_worse=not_worse)


def test_each_stage_lasts_its_bars() -> None:
    """The shadow lasts five bars, the first weight ten, and the last until a verdict."""
    assert _move(RolloutStage(0.0, 4, 4)) is Move.STAY
    assert _move(RolloutStage(0.0, 5, 5)) is Move.ADVANCE
    assert _move(RolloutStage(0.05, 14, 9)) is Move.STAY
    assert _move(RolloutStage(0.05, 15, 10)) is Move.ADVANCE
    assert _move(RolloutStage(0.5, 80, 50)) is Move.STAY


def test_the_first_weight_is_held_until_the_evidence_had_its_bars() -> None:
    """No more than the first weight before the hold is over; the shadow and later stages do not wait."""
    assert _move(RolloutStage(0.05, 15, 10, hold=40)) is Move.STAY
    assert _move(RolloutStage(0.05, 40, 35, hold=40)) is Move.ADVANCE
    assert _move(RolloutStage(0.0, 5, 5, hold=40)) is Move.ADVANCE
    assert _move(RolloutStage(0.25, 25, 10, hold=40)) is Move.ADVANCE
    assert RolloutStage(0.05, 15, 10, hold=40).bars_left(POLICY) == 25


def test_evidence_against_ends_any_stage_and_comes_first() -> None:
    """A rollback is taken from every weight, even where a promotion is earned too."""
    for weight in (0.0, *POLICY.weights):
        assert _move(RolloutStage(weight, 30, 10, hold=50), against=True, favour=True) is Move.ROLL_BACK


def test_a_promotion_waits_for_the_last_weight() -> None:
    """Half of the capital has to have been held before all of it is given."""
    assert _move(RolloutStage(0.25, 25, 9), favour=True) is Move.STAY
    assert _move(RolloutStage(0.5, 25, 1), favour=True) is Move.PROMOTE


def test_the_champion_stays_at_the_end_unless_the_challenger_is_shown_not_to_be_worse() -> None:
    """Non-inferiority promotes at the longest duration and at the last weight, and nowhere else."""
    assert _move(RolloutStage(0.5, 84, 50)) is Move.EXPIRE
    assert _move(RolloutStage(0.5, 84, 50), not_worse=True) is Move.PROMOTE
    assert _move(RolloutStage(0.5, 83, 49), not_worse=True) is Move.STAY
    assert _move(RolloutStage(0.05, 84, 70), not_worse=True) is Move.EXPIRE


def test_a_comparison_keeps_its_weight_to_the_end() -> None:
    """A fixed share neither advances nor promotes; a fault still ends it."""
    assert _move(RolloutStage(0.3, 50, 50, fixed=True), favour=True) is Move.STAY
    assert _move(RolloutStage(0.3, 50, 50, fixed=True), against=True) is Move.ROLL_BACK
    assert _move(RolloutStage(0.3, 84, 84, fixed=True), favour=True) is Move.EXPIRE


def test_a_splendid_card_is_waited_for_and_an_honest_one_is_not() -> None:
    """The bars come from the card: the nearer its promise to no skill, the more; none where it is nothing."""
    splendid, honest = bars_required(SPLENDID, POLICY, 20), bars_required(HONEST, POLICY, 20)
    assert honest.no_skill is None
    assert honest.hold(CLEARED | {"no_skill": False}) == 0
    assert splendid.no_skill is not None
    assert 20 < splendid.no_skill <= 84
    assert splendid.hold(CLEARED | {"no_skill": False}) == splendid.no_skill
    assert splendid.hold(CLEARED) == 0
    assert honest.hold(CLEARED | {"turnover": False}) == POLICY.hold_bars
    fewer = bars_required(SPLENDID, POLICY, 10).no_skill
    assert fewer is not None
    assert fewer > splendid.no_skill, "fewer names spread the IC of chance wider"
    weaker = bars_required(replace(SPLENDID, ic_floor=0.2), POLICY, 20).no_skill
    assert weaker is not None
    assert weaker > splendid.no_skill


def test_a_model_without_skill_is_found_in_the_bars_that_were_promised() -> None:
    """Over fresh seeds, 99 % of worthless models with a splendid card are found before the hold ends."""
    promised = bars_required(SPLENDID, POLICY, 20).no_skill
    assert promised is not None
    rng = np.random.default_rng(99)
    layers = EvidenceLayers(POLICY, [SPLENDID] * 1_000, 1e-4)
    nothing = np.nan
    for _ in range(promised - 2):
        worthless = np.clip(rng.normal(0.0, 0.3, 1_000), -1, 1)
        layers.observe(PairedMeasurements(0.0, 0.0, worthless, *[nothing] * 8))
    assert layers.against()["behaviour"].mean() >= 0.99


def test_a_longer_outcome_needs_longer_to_tell_no_skill() -> None:
    """With an information coefficient every fifth bar, the bars that are promised find who has none."""
    policy = replace(POLICY, ic_horizon=5)
    daily, weekly = bars_required(SPLENDID, POLICY, 20).no_skill, bars_required(SPLENDID, policy, 20).no_skill
    assert daily is not None and weekly is not None and weekly > 4 * daily
    rng, nothing = np.random.default_rng(99), np.full(1_000, np.nan)
    layers = EvidenceLayers(policy, [SPLENDID] * 1_000, 1e-4)
    for bar in range(1, weekly + 1):
        known = bar >= policy.ic_horizon + 2 and (bar - 2) % policy.ic_horizon == 0
        drawn = np.clip(rng.normal(0.0, 0.3, 1_000), -1, 1) if known else nothing
        layers.observe(PairedMeasurements(0.0, 0.0, drawn, *[nothing] * 8))
    assert layers.against()["behaviour"].mean() >= 0.99


def test_turnover_is_cleared_when_it_is_the_cards_and_never_when_it_is_five_times_that() -> None:
    """An honest book is cleared within weeks; one that trades five-fold is found and not cleared."""
    usual = bars_required(HONEST, POLICY, 20).turnover
    assert usual is not None
    assert usual <= 25
    rng = np.random.default_rng(5)
    layers = EvidenceLayers(POLICY, [HONEST] * 400, 1e-4)
    champion = HONEST.turnover_mean / HONEST.turnover_ratio
    for _ in range(60):
        unrest = np.exp(rng.normal(0, 0.35, 400))
        layers.cost.observe(5 * HONEST.turnover_mean * unrest, champion)
    assert layers.against()["cost"].mean() >= 0.99
    assert layers.cleared()["turnover"].mean() <= 0.005


@pytest.mark.parametrize(("effect", "bars"), [(1.0, 60), (0.5, 150)])
def test_power_is_what_the_tests_have(effect: float, bars: int) -> None:
    """The power that is told is high where the figures of the trial are, and low for a small effect."""
    alpha = POLICY.rollback_alpha("pnl")
    assert (bars_to_find(effect, alpha, bars) <= bars).mean() >= 0.98
    assert (bars_to_find(0.2, alpha, 84) <= 84).mean() <= 0.2
    found = bars_to_find(effect, alpha, 400)
    assert np.isfinite(found).all()
    assert np.median(found) < bars


def test_ranks_that_always_agreed_are_waited_for_and_others_are_not() -> None:
    """Only where the folds agree with the champion can turned ranks show; honest ones are cleared."""
    alike = replace(HONEST, agreement=ExpectedRange(0.05, 1.1, 0.15))
    apart = replace(HONEST, agreement=ExpectedRange(-0.4, 1.0, 0.15))
    assert bars_required(alike, POLICY, 20).hold(CLEARED | {"inverted_ranks": False}) == POLICY.hold_bars
    assert bars_required(apart, POLICY, 20).hold(CLEARED | {"inverted_ranks": False}) == 0
    nothing, honest = np.nan, EvidenceLayers(POLICY, [alike], 1e-4)
    turned = EvidenceLayers(POLICY, [alike], 1e-4)
    for _ in range(25):
        honest.observe(PairedMeasurements(0.0, 0.0, *[nothing] * 8, 0.7))
        turned.observe(PairedMeasurements(0.0, 0.0, *[nothing] * 8, -0.7))
    assert honest.cleared()["inverted_ranks"][0]
    assert not turned.cleared()["inverted_ranks"][0]
    assert turned.against()["behaviour"][0]
