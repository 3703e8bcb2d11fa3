"""The gate: it says no to each thing that it is there for, and says why."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from models.card import Card
from models.export import Fidelity
from models.gate import GatePolicy, GateResult, judge

FAITHFUL = Fidelity(max_abs_diff=1e-7, orders_equal=True, rows=100)


def evaluation(**changes: float) -> Any:
    """The figures of a decent model, with `changes`."""
    decent = {"ic": 0.03, "ic_one_bar": 0.02, "ic_tstat": 2.5, "active_ir_net": 0.3, "years": 9.0}
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
        ({"ic_tstat": 1.99}, "ic_tstat 1.99 is below 2.00"),
        ({"ic_tstat": math.nan}, "ic_tstat nan is below 2.00"),
        ({"active_ir_net": 0.0}, "active_ir_net 0.00 is not above 0.00"),
        ({"active_ir_net": math.nan}, "active_ir_net nan is not above 0.00"),
        ({"active_ir_net": 1.2}, "active_ir_net 1.20 over 9.0 years is above 1.00: suspected leakage"),
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


def test_two_good_years_are_no_sign_of_leakage() -> None:
    """Over a short time anything is possible, so a high ratio alone is not held against a model."""
    assert judge(evaluation(active_ir_net=1.2, years=2.0), FAITHFUL, None).passed


def test_the_policy_sets_the_thresholds() -> None:
    """A stricter policy refuses what the default lets pass."""
    assert not judge(evaluation(), FAITHFUL, None, GatePolicy(min_ic_tstat=3.0)).passed
