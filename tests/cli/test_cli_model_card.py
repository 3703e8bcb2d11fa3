"""The gate's verdict as people read it: refused, passed, or a finding that asks for a proof."""

from __future__ import annotations

from typing import Any

import pytest

from cli.model_card_view import verdict_lines
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
