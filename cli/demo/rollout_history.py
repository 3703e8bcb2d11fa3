"""History of each rollout, from its transitions and the ledgers of evidence."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from alphaloop.rollout_document import RolloutKind
from cli.demo.scheduler import RolloutScheduler
from rollouts.evidence.evidence_ledger import EvidenceLedger
from rollouts.transition import RolloutOutcome, Transition

STILL_RUNNING = "still under way when the replay ended; the champion stays"


def rollout_rows(scheduler: RolloutScheduler) -> list[dict[str, Any]]:
    """Build the `rollouts` of report.json for one universe: ended, refused, and the one under way."""
    rows = [_ended_row(step, scheduler) for step in scheduler.finished]
    rows += [
        {
            "version": rejection.version,
            "kind": RolloutKind.REAL.value,
            "outcome": RolloutOutcome.REJECTED.value,
            "evidence": {"layer": "gate", "reason": "; ".join(rejection.reasons)},
            "started": rejection.as_of.date().isoformat(),
            "ended": rejection.as_of.date().isoformat(),
            "bars": 0,
            "pipeline_run": rejection.pipeline_run,
        }
        for rejection in scheduler.rejections
    ]
    document = scheduler.loop.controller.document
    if document.challenger is not None and document.started is not None:
        ledger = _ledger(scheduler, document.challenger, document.started)
        rows.append(
            {
                "version": document.challenger,
                "kind": document.kind.value,
                "outcome": RolloutOutcome.UNDECIDED.value,
                "evidence": {
                    "layer": "",
                    "reason": STILL_RUNNING,
                    **_figures(ledger.summary() if ledger else {}),
                },
                "started": document.started[:10],
                "ended": scheduler.loop.turns[-1].as_of.date().isoformat(),
                "bars": ledger.bars if ledger else 0,
            }
        )
    return sorted(rows, key=lambda row: (row["started"], row["version"]))


def rollout_series(scheduler: RolloutScheduler) -> list[dict[str, Any]]:
    """Build the series of each rollout for the report: its stages, and its evidence with the bounds."""
    return [
        {
            "version": row["version"],
            "kind": row["kind"],
            "outcome": row["outcome"],
            "timeline": _timeline(scheduler, row),
            "evidence_series": {} if ledger is None else ledger.series,
            "bounds": {} if ledger is None else ledger.bounds(),
            "decided_by": row["evidence"]["layer"],
            "explanation": row["evidence"]["reason"],
        }
        for row in rollout_rows(scheduler)
        for ledger in [_ledger_of(scheduler, row)]
    ]


def _ended_row(step: Transition, scheduler: RolloutScheduler) -> dict[str, Any]:
    started = _started(scheduler, step)
    return {
        "version": step.version,
        "kind": step.kind.value,
        "outcome": str(step.outcome),
        "evidence": {"layer": step.layer, "reason": step.reason, **_figures(step.evidence)},
        "started": started,
        "ended": step.as_of[:10],
        "bars": step.bars,
        "override": step.override,
    }


def _started(scheduler: RolloutScheduler, step: Transition) -> str:
    ends = datetime.fromisoformat(step.as_of)
    begun = [
        key.split("@")[1] for key in scheduler.loop.controller.ledgers if key.startswith(f"{step.version}@")
    ]
    return max((start for start in begun if datetime.fromisoformat(start) <= ends), default=step.as_of)[:10]


def _timeline(scheduler: RolloutScheduler, row: dict[str, Any]) -> list[dict[str, Any]]:
    shadow = [{"bar": row["started"], "state": "shadow", "weight": 0.0}] if row["bars"] else []
    steps = [
        {"bar": step.as_of[:10], "state": str(step.outcome or step.state), "weight": step.weight}
        for step in scheduler.transitions
        if step.version == row["version"] and row["started"] <= step.as_of[:10] <= row["ended"]
    ]
    return shadow + steps


def _ledger_of(scheduler: RolloutScheduler, row: dict[str, Any]) -> EvidenceLedger | None:
    return _ledger(scheduler, row["version"], row["started"])


def _ledger(scheduler: RolloutScheduler, version: str, started: str) -> EvidenceLedger | None:
    for key, ledger in scheduler.loop.controller.ledgers.items():
        if key.startswith(f"{version}@{started[:10]}"):
            return ledger
    return None


def _figures(evidence: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in evidence.items()
    }
