"""Runner of retrain requests: each cause is run to one conclusion, however often the runner is called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from alphaloop.errors import VendorError
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import PIPELINE_STREAM, REQUEST_STREAMS
from alphaloop.settings.settings import Settings
from monitoring.retrain_trigger import RETRAIN_REQUEST
from pipelines.local_runner import run_pipeline

RETRAIN_STARTED, RETRAIN_FINISHED = "retrain.started", "retrain.finished"
RETRAIN_FAILED, RETRAIN_ABANDONED = "retrain.failed", "retrain.abandoned"
MAX_TRIES = 2
"""Number of failed runs of one cause after which a person is asked.

A run that ended because its runner was killed, stopped or lost its role has no end in the journal and counts
for nothing: it is run again, and steps that were done are not repeated.
"""


@dataclass(frozen=True, slots=True)
class RequestRunner:
    """Runner of the retrain requests in the journal.

    Parameters
    ----------
    settings : Settings
        Settings of the pipeline runs.
    journal : Journal
        Journal with the requests; starts and ends of runs are written to it.
    """

    settings: Settings
    journal: Journal

    def pending(self) -> list[dict[str, Any]]:
        """Return the requests without an end that counts, oldest first."""
        ended = {
            record.body["cause_id"]
            for kind in (RETRAIN_FINISHED, RETRAIN_ABANDONED)
            for record in self.journal.records(PIPELINE_STREAM, kind)
        }
        found = {
            record.body["cause_id"]: record.body
            for record in self.journal.records_of(REQUEST_STREAMS, RETRAIN_REQUEST)
        }
        return [request for cause, request in found.items() if cause not in ended]

    def consume(self) -> list[dict[str, Any]]:
        """Run every pending request; returns each as `run` does."""
        return [self.run(request) for request in self.pending()]

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Run one request; returns it with its conclusion, or with the reason why it `failed`.

        A run whose step failed is tried once more, and at the second failure a person is asked: the cause is
        abandoned, which is journaled.
        """
        cause = str(request["cause_id"])
        while True:
            started = {"cause_id": cause, "family": request["family"], "model": request["model"]}
            self.journal.append(PIPELINE_STREAM, RETRAIN_STARTED, started)
            try:
                # The name of the run follows from the cause, so that a second attempt finds what is done.
                ended = run_pipeline(
                    "retrain",
                    self.settings,
                    model=request["model"],
                    family=request["family"],
                    cause_id=cause,
                    run=f"retrain-{cause}",
                )
            except VendorError as error:
                if self._failed(cause, str(error)):
                    return {"request": request, "conclusion": None, "failed": str(error)}
                continue
            self.journal.append(
                PIPELINE_STREAM, RETRAIN_FINISHED, {"cause_id": cause, **ended}, unique="cause_id"
            )
            return {"request": request, **ended}

    def _failed(self, cause: str, reason: str) -> bool:
        """Journal a failed run; returns True where it was the last try."""
        self.journal.append(PIPELINE_STREAM, RETRAIN_FAILED, {"cause_id": cause, "reason": reason})
        records = self.journal.records(PIPELINE_STREAM, RETRAIN_FAILED)
        tries = Counter(record.body["cause_id"] for record in records)[cause]
        if tries < MAX_TRIES:
            return False
        told = {"cause_id": cause, "tries": tries, "reason": reason}
        self.journal.append(PIPELINE_STREAM, RETRAIN_ABANDONED, told, unique="cause_id")
        return True
