"""The gate: it says no to each thing that it is there for, and says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from alphaloop.settings.training import TrainingSettings
from models.evaluation.gate import GatePolicy, GateResult, judge
from models.evaluation.look_ahead import LookAheadResult
from models.onnx.export import Fidelity
from models.registry.card import Card

FAITHFUL = Fidelity(max_abs_diff=1e-7, orders_equal=True, rows=100)
UNCHANGED = LookAheadResult((), 24, ("2012-01-03", "2014-01-03"))
CHANGED = LookAheadResult(("peek",), 24, ("2012-01-03", "2014-01-03"))


def evaluation(**changes: float) -> Any:
    """The figures of a decent model, with `changes`."""
    decent = {
        "ic": 0.03, "ic_one_bar": 0.02, "ic_tstat": 2.5, "ic_pvalue": 0.004, "arrangements": 1e18,
        "active_ir_net": 0.3, "years": 9.0,
    }  # fmt: skip
    return SimpleNamespace(**decent | changes)


def test_a_decent_model_passes(tiny_card: Callable[..., Card]) -> None:
    """With honest figures and a champion that it beats, nothing speaks against it."""
    champion = tiny_card(b"", metrics={"active_ir_net": 0.2})
    assert judge(evaluation(), FAITHFUL, None) == GateResult(True)
    assert judge(evaluation(), FAITHFUL, champion).passed
    assert judge(evaluation(), FAITHFUL, tiny_card(b"", metrics={"active_ir_net": None})).passed


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ic_tstat": 2.32}, "ic_tstat 2.32 is below 2.33"),
        ({"ic_tstat": math.nan}, "ic_tstat nan is below 2.33"),
        ({"ic_pvalue": 0.011}, "ic_pvalue 0.0110 is above 0.0100: the same scores under other names"),
        ({"ic_pvalue": math.nan}, "ic_pvalue nan is above 0.0100"),
        (
            {"ic_pvalue": 0.18, "arrangements": 6},
            "ic_pvalue 0.1800 is above 0.0100: names that are scored on the same bars have only 6 orders, "
            "and none is rarer than 0.1667; more symbols can show more",
        ),
        ({"active_ir_net": 0.0}, "active_ir_net 0.00 is not above 0.00"),
        ({"active_ir_net": math.nan}, "active_ir_net nan is not above 0.00"),
        ({"ic": 0.16}, "ic 0.160 is above 0.15, too good to be true: suspected leakage"),
        ({"ic_one_bar": 0.4}, "ic 0.400 is above 0.15"),
    ],
)
def test_each_figure_can_refuse_alone(changes: dict[str, float], reason: str) -> None:
    """One bad figure is enough, and the reason names it with its threshold."""
    result = judge(evaluation(**changes), FAITHFUL, None)
    assert not result.passed
    assert len(result.reasons) == 1 and result.reasons[0].startswith(reason)
    assert result.to_dict() == {"passed": False, "reasons": list(result.reasons)}


@pytest.mark.parametrize("changes", [{"ic_tstat": 2.33}, {"ic_pvalue": 0.01}])
def test_a_figure_on_its_bound_passes(changes: dict[str, float]) -> None:
    """A t of 2.33 and a p-value of 1 % are enough."""
    assert judge(evaluation(**changes), FAITHFUL, None).passed


@pytest.mark.parametrize("changes", [{"active_ir_net": 1.0}, {"ic": 0.15}, {"ic_one_bar": 0.15}])
def test_a_figure_at_its_cap_is_not_too_good(changes: dict[str, float]) -> None:
    """Only above a ratio of 1.00 or an IC of 0.15 is a figure rarely honest."""
    assert judge(evaluation(**changes), FAITHFUL, None) == GateResult(True)


@pytest.mark.parametrize(("arrangements", "why"), [(99, "have only 99 orders"), (100, "under other names")])
def test_orders_are_too_few_only_where_none_can_be_rare_enough(arrangements: float, why: str) -> None:
    """One of 100 orders can reach a p-value of 1 %, so that 99 are too few for it, and 100 are not."""
    result = judge(evaluation(ic_pvalue=0.02, arrangements=arrangements), FAITHFUL, None)
    assert len(result.reasons) == 1 and why in result.reasons[0]


def test_a_model_must_beat_the_champion(tiny_card: Callable[..., Card]) -> None:
    """Equal is not better: the champion keeps its place."""
    champion = tiny_card(b"", metrics={"active_ir_net": 0.3}, family="momentum")
    result = judge(evaluation(), FAITHFUL, champion)
    assert result.reasons == ("active_ir_net 0.30 is not above the champion's 0.30 (momentum)",)


def test_an_unfaithful_file_is_refused() -> None:
    """However good the figures, a file that is not the model does not pass."""
    result = judge(evaluation(), Fidelity(max_abs_diff=0.5, orders_equal=False, rows=9), None)
    assert not result.passed and len(result.reasons) == 2
    assert all(reason.startswith("fidelity") for reason in result.reasons)


@pytest.mark.parametrize("years", [5.0, 7.9, 9.0])
def test_a_ratio_that_is_rarely_honest_is_a_finding(years: float) -> None:
    """Above one over five years or more a ratio asks for a proof or an override, and is not called a leak."""
    result = judge(evaluation(active_ir_net=1.5, years=years), FAITHFUL, None)
    assert not result.passed
    assert result.reasons == result.findings and len(result.findings) == 1
    assert f"active_ir_net 1.50 over {years:.1f} years is above 1.00" in result.findings[0]
    assert "a proof" in result.findings[0] and "override" in result.findings[0]
    assert "leakage" not in result.findings[0]


def test_a_proof_answers_a_finding_and_nothing_else() -> None:
    """A look-ahead check that finds nothing lets a splendid model pass, and the card keeps both."""
    splendid = evaluation(active_ir_net=1.5)
    result = judge(splendid, FAITHFUL, None, proof=UNCHANGED)
    assert result.passed and not result.reasons
    kept = result.to_dict()
    assert kept["findings"] == list(result.findings) and "active_ir_net 1.50" in kept["findings"][0]
    assert kept["proof"].startswith("look-ahead check: none of 24 features changes")
    weak = judge(evaluation(active_ir_net=1.5, ic_tstat=1.0), FAITHFUL, None, proof=UNCHANGED)
    assert [reason[:8] for reason in weak.reasons] == ["ic_tstat"]


def test_a_feature_that_looks_ahead_refuses() -> None:
    """A check that finds one names it, and no figure can outweigh that."""
    result = judge(evaluation(active_ir_net=1.5), FAITHFUL, None, proof=CHANGED)
    assert not result.passed and not result.proof
    assert result.reasons == (
        "look-ahead: 1 of 24 features change when the bars after 2012-01-03, 2014-01-03 are taken away: peek",
    )


def test_some_good_years_ask_for_nothing() -> None:
    """Over less than five years anything is possible: a high ratio alone is no finding."""
    assert judge(evaluation(active_ir_net=1.2, years=4.9), FAITHFUL, None) == GateResult(True)


def test_the_policy_sets_the_thresholds() -> None:
    """A stricter policy refuses what the default lets pass."""
    assert not judge(evaluation(), FAITHFUL, None, GatePolicy(min_ic_tstat=3.0)).passed


def test_the_settings_set_the_p_value() -> None:
    """`training.max_pvalue` is the bound of the permutation test."""
    demands = GatePolicy.from_settings(TrainingSettings(max_pvalue=0.002))
    assert judge(evaluation(ic_pvalue=0.002), FAITHFUL, None, demands).passed
    assert not judge(evaluation(ic_pvalue=0.003), FAITHFUL, None, demands).passed
    assert GatePolicy.from_settings(TrainingSettings()) == GatePolicy()


@pytest.mark.parametrize(("level", "bound"), [(0.05, 1.645), (0.025, 1.960), (0.001, 2.33)])
def test_a_baseline_is_held_to_one_level_in_both_tests(level: float, bound: float) -> None:
    """What learns nothing needs 5 % to be the first champion: p of 0.05, and a t of 1.645."""
    demands = GatePolicy.for_baseline(TrainingSettings(baseline_max_pvalue=level))
    assert judge(evaluation(ic_pvalue=level, ic_tstat=bound + 0.001), FAITHFUL, None, demands).passed
    assert not judge(evaluation(ic_pvalue=level * 1.01), FAITHFUL, None, demands).passed
    weak = evaluation(ic_pvalue=level, ic_tstat=bound - 0.001)
    assert not judge(weak, FAITHFUL, None, demands).passed
