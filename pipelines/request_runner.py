"""Runner of retrain requests: each cause is run once, however often the runner is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alphaloop.journal.store import Journal
from alphaloop.settings.settings import Settings
from monitoring.retrain_trigger import RETRAIN_REQUEST
from pipelines.local_runner import run_pipeline
from pipelines.steps import PIPELINE_STREAM
from rollouts.transition import CONTROL_STREAM

RETRAIN_STARTED, RETRAIN_FINISHED = "retrain.started", "retrain.finished"
MAX_ATTEMPTS = 2
"""Number of attempts: a run that died is tried once more, then it is left to an operator."""


@dataclass(frozen=True, slots=True)
class RequestRunner:
    """Runner of the retrain requests in the journal's control stream.

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
        """Return the requests without a finished run and with attempts left, oldest first."""
        finished = {
            record.body["cause_id"] for record in self.journal.records(PIPELINE_STREAM, RETRAIN_FINISHED)
        }
        attempts: dict[str, int] = {}
        for record in self.journal.records(PIPELINE_STREAM, RETRAIN_STARTED):
            attempts[record.body["cause_id"]] = attempts.get(record.body["cause_id"], 0) + 1
        return [
            record.body
            for record in self.journal.records(CONTROL_STREAM, RETRAIN_REQUEST)
            if record.body["cause_id"] not in finished
            and attempts.get(record.body["cause_id"], 0) < MAX_ATTEMPTS
        ]

    def consume(self) -> list[dict[str, Any]]:
        """Run every pending request; returns each request with its conclusion."""
        return [self._run(request) for request in self.pending()]

    def _run(self, request: dict[str, Any]) -> dict[str, Any]:
        cause = {"cause_id": request["cause_id"]}
        with self.journal.writer(PIPELINE_STREAM) as writer:
            writer.append(RETRAIN_STARTED, {**cause, "family": request["family"], "model": request["model"]})
        ended = run_pipeline(
            "retrain", self.settings, model=request["model"], family=request["family"], **cause
        )
        with self.journal.writer(PIPELINE_STREAM) as writer:
            writer.append(RETRAIN_FINISHED, {**cause, **ended})
        return {"request": request, **ended}
