"""The retrain requests in the journal, and how far each has come; read once, then only what is new."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from alphaloop.journal.store import Journal
from alphaloop.journal.streams import PIPELINE_STREAM, REQUEST_STREAMS
from monitoring.retrain_trigger import RETRAIN_REQUEST

RETRAIN_STARTED, RETRAIN_FINISHED = "retrain.started", "retrain.finished"
RETRAIN_FAILED, RETRAIN_ABANDONED = "retrain.failed", "retrain.abandoned"


@dataclass(slots=True)
class RetrainQueue:
    """Retrain requests, oldest first.

    Older journals have requests in the control stream, and starts without an attempt, each a try.

    Parameters
    ----------
    journal : Journal
        Journal of the requests and of the runs.
    """

    journal: Journal
    _requests: dict[str, dict[str, Any]] = field(default_factory=dict)
    _failures: dict[str, list[str]] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)
    _read: dict[tuple[str, str], int] = field(default_factory=dict)

    def pending(self) -> list[dict[str, Any]]:
        """Read what is new, and return the requests that were not ended."""
        takers: tuple[tuple[str, str, Callable[[Mapping[str, Any]], None]], ...] = (
            *((stream, RETRAIN_REQUEST, self._take_request) for stream in REQUEST_STREAMS),
            (PIPELINE_STREAM, RETRAIN_STARTED, self._take_start),
            (PIPELINE_STREAM, RETRAIN_FAILED, self._take_failure),
            (PIPELINE_STREAM, RETRAIN_FINISHED, self._take_end),
            (PIPELINE_STREAM, RETRAIN_ABANDONED, self._take_end),
        )
        for stream, kind, take in takers:
            for record in self.journal.records(stream, kind, after=self._read.get((stream, kind), 0)):
                take(record.body)
                self._read[stream, kind] = record.seq
        return [body for cause, body in self._requests.items() if cause not in self._ended]

    def failures(self, cause_id: str) -> list[str]:
        """Return the reasons of the failed attempts at a cause, as far as they were read."""
        return list(self._failures.get(cause_id, ()))

    def _take_request(self, body: Mapping[str, Any]) -> None:
        self._requests.setdefault(body["cause_id"], dict(body))

    def _take_start(self, body: Mapping[str, Any]) -> None:
        if "attempt_id" not in body:
            self._failures.setdefault(body["cause_id"], []).append("a run of an earlier release did not end")

    def _take_failure(self, body: Mapping[str, Any]) -> None:
        self._failures.setdefault(body["cause_id"], []).append(str(body["reason"]))

    def _take_end(self, body: Mapping[str, Any]) -> None:
        self._ended.add(body["cause_id"])
        self._requests.pop(body["cause_id"], None)
