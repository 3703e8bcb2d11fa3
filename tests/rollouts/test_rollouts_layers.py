"""The layers decide for one rollout as for a thousand, and each for its own reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rollouts.evidence.expected_ranges import ExpectedRange, ExpectedRanges
from rollouts.evidence.layers import CostTest, EvidenceLayers, PairedMeasurements
from rollouts.evidence.sequential import BettingTest, MixedTest
from rollouts.rollout_policy_settings import RolloutPolicy

POLICY = RolloutPolicy(
    shadow_bars=5,
    stage_bars=10,
    max_bars=84,
    weights=(0.05, 0.25, 0.5),
    false_rollback=0.01,
    false_promotion=0.05,
)
EXPECTED = ExpectedRanges(
    ic_floor=0.0,
    ic_scale=0.28,
    turnover_ceiling=0.06,
    turnover_mean=0.02,
    turnover_high=0.033,
    turnover_ratio=2.0,
    persistence=ExpectedRange(0.5, 3.0, 0.8),
    dispersion=ExpectedRange(-3.0, 1.0, 1.1),
    agreement=ExpectedRange(0.1, 0.95, 0.15),
)
ROLLOUTS = 60


def _bars(count: int, seed: int) -> list[PairedMeasurements]:
    rng = np.random.default_rng(seed)

    def column(mean: float, spread: float) -> np.ndarray:
        return rng.normal(mean, spread, (count, ROLLOUTS))

    turnover = 0.02 * np.exp(column(0, 0.3))
    columns = PairedMeasurements(
        recomputation=np.zeros((count, ROLLOUTS)),
        fault=np.zeros((count, ROLLOUTS)),
        ic=np.clip(column(0.02, 0.28), -1, 1),
        champion_ic=np.clip(column(0.02, 0.28), -1, 1),
        net_return=rng.standard_t(3, (count, ROLLOUTS)) * 0.01,
        champion_net_return=rng.standard_t(3, (count, ROLLOUTS)) * 0.01,
        turnover=turnover,
        champion_turnover=turnover / 2,
        persistence=np.clip(column(0.85, 0.1), -1, 0.999),
        dispersion=column(-1.0, 0.3),
        agreement=np.clip(column(0.5, 0.25), -1, 1),
    )
    return [PairedMeasurements(*(np.asarray(one)[bar] for one in columns)) for bar in range(count)]


def _of(layers: EvidenceLayers) -> dict[str, np.ndarray]:
    return {
        "behaviour": layers.behaviour.test.log_wealth,
        "cost": layers.cost.test.log_wealth,
        "turnover_cleared": layers.cost.turnover_cleared.log_wealth,
        "skill": layers.skill.log_wealth,
        "ic_worse": layers.ic.worse.log_wealth,
        "pnl_worse": layers.pnl.worse.log_wealth,
        "ic_better": layers.ic.better.log_wealth,
        "pnl_better": layers.pnl.better.log_wealth,
        "not_worse": layers.pnl.not_worse.log_wealth,
        "mean": layers.pnl.mean,
    }


def test_a_simulated_thousand_is_bit_for_bit_what_single_rollouts_are() -> None:
    """The axis of rollouts changes no bit of any e-value: a simulation is of the very tests that decide."""
    policy = replace(POLICY, non_inferiority=0.001)
    rng = np.random.default_rng(1)
    expectations = [replace(EXPECTED, ic_floor=float(rng.normal(0, 0.1))) for _ in range(ROLLOUTS)]
    together = EvidenceLayers(policy, expectations, 1e-4)
    alone = [EvidenceLayers(policy, [one], 1e-4) for one in expectations]
    for bar in _bars(120, 2):
        together.observe(bar)
        for number, single in enumerate(alone):
            single.observe(PairedMeasurements(*(float(np.asarray(one)[number]) for one in bar)))
    for name, values in _of(together).items():
        singles = np.array([_of(single)[name][0] for single in alone])
        np.testing.assert_array_equal(values, singles, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "layer"),
    [
        ({"recomputation": 0.01}, "recomputation"),
        ({"recomputation": np.nan}, "recomputation"),
        ({"fault": 1.0}, "guard"),
        ({"ic": -0.5}, "behaviour"),
        ({"agreement": -0.6}, "behaviour"),
        ({"persistence": 0.0}, "behaviour"),
        ({"persistence": 1.0}, "behaviour"),
        ({"dispersion": float("-inf")}, "behaviour"),
        ({"dispersion": 4.0}, "behaviour"),
        ({"turnover": 0.1}, "cost"),
    ],
)
def test_each_fault_is_found_in_its_layer_and_no_other(changes: dict[str, float], layer: str) -> None:
    """What leaves the card's range is found within forty bars, at the layer that it belongs to."""
    layers = EvidenceLayers(POLICY, [EXPECTED] * ROLLOUTS, 1e-4)
    for bar in _bars(40, 3):
        equal = bar._replace(
            champion_ic=changes.get("ic", bar.ic), ic=bar.ic, champion_net_return=bar.net_return
        )
        layers.observe(equal._replace(**changes))
    found = {name: flags.all() for name, flags in layers.against().items() if flags.any()}
    assert found == {layer: True}


def test_what_stays_within_the_cards_ranges_is_left_alone() -> None:
    """Nothing is found in a model that does what its card says."""
    layers = EvidenceLayers(POLICY, [EXPECTED] * ROLLOUTS, 1e-4)
    for bar in _bars(250, 4):
        layers.observe(bar)
    assert not any(flags.any() for flags in layers.against().values())


def test_a_card_that_says_nothing_is_not_held_against_anyone() -> None:
    """Ranges that a card lacks are not bet on."""
    bare = ExpectedRanges(ic_floor=-1.0, ic_scale=0.25, turnover_ceiling=1.0)
    layers = EvidenceLayers(POLICY, [bare] * ROLLOUTS, 1e-4)
    for bar in _bars(60, 5):
        layers.observe(bar._replace(agreement=-1.0, persistence=0.0, dispersion=9.0))
    assert not any(flags.any() for flags in layers.against().values())


def _bursts(bars: int, rollouts: int, seed: int) -> np.ndarray:
    """Turnover where two of few names change places once a month; a bar trades a tenth of the way."""
    rng = np.random.default_rng(seed)
    level, turnover = np.zeros(rollouts), np.zeros((bars + 100, rollouts))
    for bar in range(len(turnover)):
        level += np.where(rng.random(rollouts) < 1 / 21, 0.3, 0.0)
        turnover[bar], level = 0.1 * level, 0.9 * level
    return turnover[100:]


def test_a_book_that_trades_in_bursts_as_its_card_says_is_not_accused_while_the_champion_rests() -> None:
    """Few names: a burst lasts for weeks and is many times the mean, and the card's busy bars say so."""
    rollouts, folds = 4_000, _bursts(600, 4, 11)
    card = replace(
        EXPECTED,
        turnover_ceiling=3 * float(folds.mean(axis=0).max()),
        turnover_mean=float(folds.mean(axis=0).min()),
        turnover_high=float(np.quantile(folds, 0.95)),
        turnover_ratio=1.0,
    )
    share = {}
    for name, expected in (("busy bars", card), ("the mean alone", replace(card, turnover_high=np.nan))):
        cost = CostTest([expected] * rollouts)
        accused = np.zeros(rollouts, dtype=bool)
        for ours, theirs in zip(_bursts(126, rollouts, 12), _bursts(126, rollouts, 13), strict=True):
            cost.observe(ours, theirs)
            accused |= cost.test.exceeds(POLICY.rollback_alpha("cost"))
        share[name] = accused.mean()
    assert share["busy bars"] <= POLICY.rollback_alpha("cost")
    assert share["the mean alone"] > POLICY.false_rollback, "the bursts would be accused by their mean"


@pytest.mark.parametrize(("better", "other"), [("ic", "net_return"), ("net_return", "ic")])
def test_an_outcome_does_not_promote_while_the_other_disagrees(better: str, other: str) -> None:
    """A challenger that ranks better and earns less, or the other way round, is not promoted for it."""
    agree, disagree = (EvidenceLayers(POLICY, [EXPECTED] * ROLLOUTS, 1e-4) for _ in range(2))
    shift = {"ic": 0.25, "net_return": 0.01}
    for bar in _bars(80, 9):
        gain = {better: np.asarray(getattr(bar, better)) + shift[better]}
        for layers, sign in ((agree, 0.2), (disagree, -0.2)):
            layers.observe(
                bar._replace(**gain, **{other: np.asarray(getattr(bar, other)) + sign * shift[other]})
            )
    layer, mean = ("ic", "pnl") if better == "ic" else ("pnl", "ic")
    against = getattr(disagree, mean).mean < 0
    assert against.mean() > 0.5, "the other outcome disagrees in most of them"
    assert not (disagree.favour()[layer] & against).any()
    earned = agree.favour()[layer] & (getattr(agree, mean).mean >= 0)
    assert earned.mean() > 0.5, "with both outcomes it would be promoted"


def test_the_past_can_only_speak_against() -> None:
    """Bars from before the rollout never promote and never clear; a worthless past rolls back."""
    layers = EvidenceLayers(POLICY, [replace(EXPECTED, ic_floor=0.3)], 1e-4)
    for bar in _bars(80, 6):
        layers.observe_past(PairedMeasurements(*(float(np.asarray(one)[0]) for one in bar)))
    assert layers.against()["history"][0]
    assert not layers.favour()["ic"][0]
    assert layers.skill.bets[0] == 0
    assert layers.ic.better.bets[0] == 0


def test_a_mean_of_e_values_is_an_e_value() -> None:
    """Where no part has an edge, the mixture exceeds one over alpha in at most alpha of the runs."""
    rng = np.random.default_rng(7)
    mixed, exceeded = MixedTest({"a": 0.7, "b": 0.3}, 2_000), np.zeros(2_000, dtype=bool)
    for _ in range(200):
        for test in mixed.parts.values():
            test.bet(rng.choice([-1.0, 1.0], 2_000))
        exceeded |= mixed.exceeds(0.05)
    assert exceeded.mean() <= 0.05
    assert mixed.strongest_part() in ("a", "b")


def test_a_missing_value_bets_nothing() -> None:
    """NaN leaves the wealth of its rollout as it was, and no other's."""
    test = BettingTest(2)
    test.bet(np.array([0.5, np.nan]))
    assert test.bets.tolist() == [1, 0]
    assert test.log_wealth[1] == 0.0
    assert test.log_wealth[0] > 0.0


def test_not_worse_is_shown_only_where_a_margin_is_stated() -> None:
    """A challenger equal to the champion is shown not to be worse by a stated margin, and never without."""
    rng = np.random.default_rng(8)
    stated = EvidenceLayers(replace(POLICY, non_inferiority=0.01), [EXPECTED] * 50, 1e-4)
    unstated = EvidenceLayers(POLICY, [EXPECTED] * 50, 1e-4)
    for bar in _bars(80, 9):
        equal = np.zeros(ROLLOUTS)[:50]
        noise = rng.normal(0, 0.01, 50)
        for layers in (stated, unstated):
            layers.observe(
                PairedMeasurements(*(np.asarray(one)[:50] for one in bar))._replace(
                    net_return=noise, champion_net_return=equal
                )
            )
    assert stated.not_worse().mean() >= 0.95
    assert not unstated.not_worse().any()
