"""Conclusions of pipeline runs: the first one of a cause counts, others are journalled as superseded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alphaloop.journal.record import Record
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import CANDIDATE_PROPOSED, CANDIDATE_REFUSED, PIPELINE_STREAM

CONCLUSION_CLAIMED = "conclusion.claimed"
CANDIDATE_SUPERSEDED = "candidate.superseded"
"""A conclusion of a cause that has one by another run, or of another version; the first one counts."""
CONCLUSIONS = (CANDIDATE_PROPOSED, CANDIDATE_REFUSED)


def conclude(journal: Journal, kind: str, body: Mapping[str, Any]) -> Record:
    """Journal the conclusion of a cause, or, where it has one already, that this one is superseded.

    The claim names the conclusion before it is written, and whoever finds a claim completes it, so that two
    runs of one cause cannot propose and refuse it both, wherever either is killed.

    Parameters
    ----------
    journal : Journal
        Journal of the conclusions.
    kind : str
        `candidate.proposed` or `candidate.refused`.
    body : mapping
        Body of the record, with `cause_id`, `version` and `pipeline_run`.

    Returns
    -------
    Record
        The conclusion that counts.
    """
    claim = journal.append(
        PIPELINE_STREAM,
        CONCLUSION_CLAIMED,
        {"cause_id": body["cause_id"], "conclusion": kind, "body": dict(body)},
        unique="cause_id",
    ).body
    counted = journal.append(PIPELINE_STREAM, claim["conclusion"], claim["body"], unique="cause_id")
    if (counted.kind, counted.body["version"]) != (kind, body["version"]):
        superseded = {**body, "conclusion": kind, "by": counted.body["pipeline_run"]}
        superseded["superseded"] = f"{kind}/{body['cause_id']}/{body['version']}"
        journal.append(PIPELINE_STREAM, CANDIDATE_SUPERSEDED, superseded, unique="superseded")
    return counted


def conclusion_of(journal: Journal, cause_id: str) -> Record | None:
    """Return the conclusion of a cause, or None; of several in an older journal, the first."""
    found = [journal.find(PIPELINE_STREAM, kind, cause_id=cause_id) for kind in CONCLUSIONS]
    return min((one for one in found if one is not None), key=lambda one: one.seq, default=None)
