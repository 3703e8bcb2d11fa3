"""The gate's verdict as people read it: refused, passed, or a finding that asks for a proof."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from alphaloop.allocation import AllocationStrategy
from alphaloop.decision.strategy import StrategyIdentity
from cli.model_card_view import fact_lines, verdict_lines
from cli.notices import strategy_notice
from cli.reports.models_section import models_section

FINDING = "active_ir_net 1.50 over 9.0 years is above 1.00"
WEAK = "ic_tstat 1.00 is below 2.33"
PROOF = "look-ahead check: none of 24 features changes"


@pytest.mark.parametrize(
    ("gate", "head", "rest", "badge"),
    [
        ({"passed": True, "reasons": []}, "gate: passed", [], "passed"),
        ({"passed": False, "reasons": [WEAK]}, "gate: refused", [WEAK], "refused"),
        (
            {"passed": False, "reasons": [FINDING], "findings": [FINDING]},
            "gate: a finding, to be answered by a proof or a named override",
            [FINDING],
            "asks for a proof",
        ),
        (
            {"passed": False, "reasons": [WEAK, FINDING], "findings": [FINDING]},
            "gate: refused",
            [WEAK, FINDING],
            "refused",
        ),
        (
            {"passed": True, "reasons": [], "findings": [FINDING], "proof": PROOF},
            "gate: passed",
            [f"{FINDING}; answered: {PROOF}"],
            "passed",
        ),
    ],
    ids=["passed", "refused", "finding", "both", "answered"],
)
def test_a_verdict_says_what_stands_against_a_version_and_what_answers_it(
    gate: dict[str, Any], head: str, rest: list[str], badge: str
) -> None:
    """A finding alone is no refusal, and its answer is told where the version passed."""
    assert verdict_lines(gate) == [head, *(f"  · {line}" for line in rest)]
    page = models_section({"models": [{"family": "ols", "version": "1", "gate": gate}]}, {})
    assert f">{badge}<" in page
    assert all(line in page for line in rest)


def test_a_card_shows_the_strategy_of_its_figures() -> None:
    """Name, parameters and the first digits of the digest stand in one line."""
    strategy = {"name": "best", "parameters": {"count": 3, "share": 0.2}, "digest": "0123456789abcdef"}
    assert fact_lines({"strategy": strategy}) == [
        ("strategy", "best (count 3, share 0.2), digest 0123456789ab")
    ]
    assert fact_lines({"strategy": {"name": "allocation"}}) == [("strategy", "allocation")]


@pytest.mark.parametrize(
    ("carded", "said"),
    [
        ({}, ""),
        (StrategyIdentity.of(AllocationStrategy()).to_body(), ""),
        (StrategyIdentity.of(AllocationStrategy()).to_body() | {"digest": "of an edit"}, ""),
        (StrategyIdentity.of(AllocationStrategy(tilt=0.7)).to_body(), "allocation (tilt 0.7, rate 0.1"),
        ({"name": "best", "parameters": {}, "digest": "0" * 64}, "strategy best, digest 000000000000, and"),
    ],
    ids=["earlier release", "same", "same built-in code", "other parameters", "other strategy"],
)
def test_figures_of_another_strategy_are_told_before_trading(carded: dict[str, Any], said: str) -> None:
    """One line names both strategies and the way out; where they are one, nothing is said."""
    card: Any = SimpleNamespace(strategy=carded)
    notice = strategy_notice(card, "7", AllocationStrategy())
    assert said in notice and bool(notice) == bool(said)
    assert not said or ("on the card of version 7" in notice and "training anew" in notice)
