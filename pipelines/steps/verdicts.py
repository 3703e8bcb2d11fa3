"""Steps on the gate's verdict: read it, and journal the proposal or refusal of a version."""

from __future__ import annotations

from alphaloop.clock import SystemClock
from alphaloop.journal.opening import open_journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, CANDIDATE_REFUSED
from pipelines.conclusions import conclude
from pipelines.run_parameter import settings_digest, settings_of_run


def gate_verdict(settings: str, model: str, version: str) -> str:
    """Return the gate's verdict from the version's card, `passed` or `refused`."""
    from models.registry.configured_registry import configured_registry

    registry = configured_registry(settings_of_run(settings))
    return "passed" if registry.card(model, version).passed else "refused"


def propose(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal a proposal to roll out a version that passed its gate.

    Returns the hash of the conclusion that counts for the cause.
    """
    return _conclude(settings, CANDIDATE_PROPOSED, cause_id, model, version, run)


def refuse(settings: str, cause_id: str, model: str, version: str, run: str) -> str:
    """Journal the gate's refusal of a version, with the reasons.

    Returns the hash of the conclusion that counts for the cause.
    """
    return _conclude(settings, CANDIDATE_REFUSED, cause_id, model, version, run)


def _conclude(settings: str, kind: str, cause_id: str, model: str, version: str, run: str) -> str:
    from models.registry.configured_registry import configured_registry

    chosen = settings_of_run(settings)
    card = configured_registry(chosen).card(model, version)
    body = {
        "cause_id": cause_id,
        "model": model,
        "version": version,
        "family": card.family,
        "digest": card.digest,
        "snapshot": card.snapshot,
        "pipeline_run": run,
        "settings_digest": settings_digest(chosen),
        "reasons": list(card.gate.get("reasons", ())),
    }
    with open_journal(chosen, SystemClock()) as journal:
        return conclude(journal, kind, body).hash
