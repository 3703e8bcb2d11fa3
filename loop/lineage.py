"""Lineage of one order from the bar to the fill, with every link checked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from alphaloop.bars import BarPanel
from alphaloop.errors import NotReplayableError
from alphaloop.settings.settings import Settings
from features.engine.columns import align_symbols
from features.feature_set import feature_set_of
from loop import audit
from marketdata.storage.snapshots import SnapshotStore
from models.registry.configured_registry import configured_registry
from models.registry.model_registry import Registry
from rollouts.evidence.score_parity import ScoreRecomputation

SCORE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Lineage:
    """Lineage of one order.

    Parameters
    ----------
    order_id : str
        Client order id.
    verified : bool
        True where every check held.
    steps : list of dict
        Links and checks in order, each with `step`, `label` and `value`.
    """

    order_id: str
    verified: bool
    steps: list[dict[str, str]]


def trace_order(settings: Settings, order_id: str) -> Lineage:
    """Trace an order back to its bars, and recompute its scores and its decision.

    Parameters
    ----------
    settings : Settings
        Paths of journal, anchors, registry and snapshots, and the feature set.
    order_id : str
        Client order id.

    Returns
    -------
    Lineage

    Raises
    ------
    UnknownNameError
        For an order, version or snapshot that does not exist.
    MissingStateError
        Where there is no journal, or the order's decision is not in it.
    """
    order, decision, fills = audit.order_records(settings, order_id)
    replayed, unknown = _replayed(settings, order_id)
    answers = decision.body["answers"]
    answer = answers[0]
    registry = configured_registry(settings)
    cards = [registry.card(one["model"], one["version"]) for one in answers]
    store = SnapshotStore(settings.locations.snapshots)
    bars = BarPanel.from_table(store.load(answer["snapshot"]))
    difference = max(_score_difference(settings, registry, one, bars) for one in answers)
    checks = {
        "the same order is decided again": replayed,
        "its scores follow from its bars": difference <= SCORE_TOLERANCE,
        "the file has the digest that answered": all(
            card.digest == one["digest"] for card, one in zip(cards, answers, strict=True)
        ),
        "the features are those it was trained on": all(
            card.feature_set == one["feature_set"] == feature_set_of(settings).hash
            for card, one in zip(cards, answers, strict=True)
        ),
        "no journal record was altered": all(chain.ok for chain in audit.audit_journal(settings)),
    }
    steps = [
        (
            "bars",
            "data snapshot",
            f"{answer['snapshot'][:16]}… ({bars.timestamps[-1].astype('datetime64[D]')})",
        ),
        *record_steps(store, answer["snapshot"]),
        ("features", "feature set", f"{answer['feature_set'][:16]}…"),
        ("training", "pipeline run", cards[0].pipeline_run or "first training"),
        (
            "model",
            f"{answer['model']} v{answer['version']} ({cards[0].family})",
            f"digest {answer['digest'][:16]}…",
        ),
        ("prediction", f"prediction, route {answer['route']}", f"inputs {answer['input_hash'][:16]}…"),
        (
            "decision",
            f"decision of {decision.body['as_of'][:10]}",
            f"record {decision.seq}, {decision.hash[:16]}…",
        ),
        ("order", f"{order.body['side']} {order.body['quantity']} {order.body['symbol']}", order_id),
        ("fill", f"{len(fills)} fill", _fill_line(fills)),
    ]
    named = [{"step": step, "label": label, "value": value} for step, label, value in steps]
    named += [
        {"step": "check", "label": words, "value": "yes" if held else "NO"} for words, held in checks.items()
    ]
    named += [{"step": "check", "label": "its decision", "value": unknown}] if unknown else []
    return Lineage(order_id, all(checks.values()), named)


def record_steps(store: SnapshotStore, snapshot: str) -> list[tuple[str, str, str]]:
    """Return step, label and digests of each file of records behind the bars of `snapshot`."""
    return [
        ("bars", f"file of data.{name}", ", ".join(f"{digest[:16]}…" for digest in digests))
        for name, digests in store.records_of(snapshot).items()
    ]


def _replayed(settings: Settings, order_id: str) -> tuple[bool, str]:
    """Return whether the order is decided again, and why that cannot be known."""
    try:
        return bool(audit.replay_order(settings, order_id)["identical"]), ""
    except NotReplayableError as error:
        return False, str(error)


def _score_difference(
    settings: Settings, registry: Registry, answer: dict[str, Any], bars: BarPanel
) -> float:
    """Compute the largest difference between journaled scores and those recomputed from the snapshot."""
    recomputation = ScoreRecomputation(registry, feature_set_of(settings))
    # Scored over all symbols, because ranks and some models depend on symbols that were not requested.
    scores = recomputation.scores(
        answer["model"], answer["version"], recomputation.frames(bars), len(bars) - 1
    )
    again = align_symbols(scores, bars.symbols, tuple(answer["symbols"]))
    journaled = np.array([np.nan if one is None else one for one in answer["scores"]], dtype=np.float64)
    if (np.isfinite(again) != np.isfinite(journaled)).any():
        return float("inf")
    return float(np.nanmax(np.abs(again - journaled), initial=0.0))


def _fill_line(fills: list[Any]) -> str:
    if not fills:
        return "not filled yet"
    body = fills[0].body
    cost = f"{Decimal(body['cost']):.2f}"
    return f"{body['quantity']} at {body['price']}, cost {cost}, {str(body['filled_at'])[:10]}"
