"""A model card as the command line shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.card import Card

METRICS = ("ic", "ic_tstat", "sharpe_net", "active_ir_net", "turnover", "deflated_sharpe")


def card_facts(card: Card) -> dict[str, Any]:
    """The facts of a card that are worth a line, in the order in which one asks for them."""
    return {
        "family": card.family,
        "parameters": dict(card.parameters),
        **{name: card.metrics.get(name) for name in METRICS},
        "fidelity_max_abs_diff": card.fidelity.get("max_abs_diff"),
        "trained": f"{str(card.train_first)[:10]} to {str(card.train_last)[:10]}",
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
