"""Display of a model card on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from alphaloop.decision.strategy import DIGITS_SHOWN

if TYPE_CHECKING:
    from models.registry.card import Card

METRICS = ("ic", "ic_tstat", "ic_pvalue", "sharpe_net", "active_ir_net", "turnover", "deflated_sharpe")


def card_facts(card: Card) -> dict[str, Any]:
    """Select the facts of a card for display, in order of interest."""
    return {
        "family": card.family,
        "parameters": dict(card.parameters),
        **{name: card.metrics.get(name) for name in METRICS},
        "fidelity_max_abs_diff": card.fidelity.get("max_abs_diff"),
        "trained": f"{str(card.train_first)[:10]} to {str(card.train_last)[:10]}",
        "strategy": dict(card.strategy) or {"name": "allocation"},
        "horizon": card.horizon,
        "lookback": card.lookback,
        "snapshot": card.snapshot,
        "feature_set": card.feature_set,
        "universe": list(card.universe),
        "pipeline_run": card.pipeline_run,
        "digest": card.digest,
        "gate": dict(card.gate),
        "walk_forward": [dict(row) for row in card.walk_forward],
    }


def fact_lines(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Format the facts for people, without the gate's verdict and the folds."""
    from cli import formatting

    return [
        (key, format_strategy(one) if key == "strategy" else formatting.format_figure(one))
        for key, one in facts.items()
        if key not in {"gate", "walk_forward"}
    ]


def format_strategy(strategy: Mapping[str, Any]) -> str:
    """Format a strategy as `allocation (tilt 0.5, rate 0.1), digest 0123456789ab`."""
    parameters = ", ".join(f"{name} {value}" for name, value in strategy.get("parameters", {}).items())
    digest = str(strategy.get("digest", ""))[:DIGITS_SHOWN]
    words = str(strategy["name"]) + (f" ({parameters})" if parameters else "")
    return words + (f", digest {digest}" if digest else "")


def verdict_lines(gate: Mapping[str, Any]) -> list[str]:
    """Format the gate's verdict for people: one word, then its reasons and answered findings.

    A version with findings as its only reasons is not refused: it needs a proof or an override.
    """
    reasons, found = list(gate.get("reasons", ())), list(gate.get("findings", ()))
    if gate.get("passed"):
        head = "gate: passed"
    elif reasons and set(reasons) <= set(found):
        head = "gate: a finding, to be answered by a proof or a named override"
    else:
        head = "gate: refused"
    answered = [f"{one}; answered: {gate['proof']}" for one in found if gate.get("proof")]
    return [head, *(f"  · {line}" for line in (*reasons, *answered))]
