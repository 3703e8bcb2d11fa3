"""Runner of retrain requests: each cause is run once, however often the runner is killed or doubled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from alphaloop.clock import sleep
from alphaloop.errors import LeaseLostError
from alphaloop.journal.record import Record
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.journal.streams import PIPELINE_STREAM
from alphaloop.settings.settings import Settings
from pipelines.conclusions import conclusion_of
from pipelines.launcher import Launcher, PlannedRun, RunState, run_id_of
from pipelines.request_queue import (
    RETRAIN_ABANDONED,
    RETRAIN_FAILED,
    RETRAIN_FINISHED,
    RETRAIN_STARTED,
    RetrainQueue,
)
from pipelines.run_parameter import settings_digest

PIPELINE = "retraining"
MAX_ATTEMPTS = 2
"""Attempts whose step failed before a person is asked; an attempt whose runner ended is none."""
WAIT_SECONDS = 0.05


@dataclass(slots=True)
class RequestRunner:
    """Runner of the retrain requests in the journal.

    A run is known by its cause, so a runner that takes over follows the run that is under way, and steps that
    were done are not repeated. What it writes is unique by the attempt or the cause.

    Parameters
    ----------
    settings : Settings
        Settings of the pipeline runs; `pipelines.runner` says where they run.
    journal : Journal
        Journal with the requests; starts and ends of runs are written to it.
    role : RoleLease, optional
        The role `runner`, without which nothing is started or concluded any more once it was lost.
    launcher : Launcher, optional
        Who runs the pipelines, by default as `pipelines.runner` says.
    note : str
        What keeps the present run from going on, as a server that is away; empty where nothing does.
    """

    settings: Settings
    journal: Journal
    role: RoleLease | None = None
    launcher: Launcher | None = None
    note: str = field(default="", init=False)
    _queue: RetrainQueue = field(init=False)

    def __post_init__(self) -> None:
        self._queue = RetrainQueue(self.journal)
        if self.launcher is None:
            self.launcher = make_launcher(self.settings)

    def pending(self) -> list[dict[str, Any]]:
        """Return the requests that have neither a conclusion nor been left to a person, oldest first."""
        return self._queue.pending()

    def consume(self) -> list[dict[str, Any]]:
        """Run every pending request to its end; returns each request with its conclusion."""
        ended: list[dict[str, Any]] = []
        while self.pending():
            news = self.turn()
            ended += news
            if not news:
                sleep(WAIT_SECONDS)
        return ended

    def turn(self) -> list[dict[str, Any]]:
        """Do what is due for the oldest pending request, and return without waiting for its run.

        Returns
        -------
        list of dict
            The request that ended in this turn, with `pipeline_run`, `conclusion` and `reasons`; mostly none.

        Raises
        ------
        LeaseLostError
            Once the role was lost.
        """
        self._require_role()
        pending = self.pending()
        if not pending:
            return []
        request = pending[0]
        planned = self._planned(request)
        concluded = conclusion_of(self.journal, request["cause_id"])
        exhausted = planned.attempt > MAX_ATTEMPTS
        # A conclusion of this run may be there before its last step, the report, is done.
        if concluded is not None and (exhausted or concluded.body["pipeline_run"] != planned.run_id):
            return [self._finish(request, planned, concluded)]
        if exhausted:
            return [self._ask_person(request, planned)]
        self._journal_start(request, planned)
        return self._followed(request, planned)

    def stop(self) -> None:
        """End a run on this machine; one on a server goes on and is followed by the next runner."""
        if self.launcher is not None:
            self.launcher.stop()

    def _followed(self, request: dict[str, Any], planned: PlannedRun) -> list[dict[str, Any]]:
        if self.launcher is None:
            return []
        status = self.launcher.follow(planned)
        self.note = status.note
        if status.state is RunState.RUNNING:
            return []
        self._require_role()
        concluded = conclusion_of(self.journal, request["cause_id"])
        if concluded is not None:
            return [self._finish(request, planned, concluded)]
        reason = status.reason or (
            "the run ended well and its conclusion is not in this journal; look whether its steps have the "
            "same journal.url as the runner"
        )
        self._append(RETRAIN_FAILED, request, planned, "attempt_id", reason=reason)
        return []

    def _planned(self, request: dict[str, Any]) -> PlannedRun:
        cause = request["cause_id"]
        arguments = {"cause_id": cause, "model": request["model"], "family": request["family"]}
        attempt = len(self._queue.failures(cause)) + 1
        return PlannedRun(PIPELINE, run_id_of(PIPELINE, cause), attempt, arguments)

    def _journal_start(self, request: dict[str, Any], planned: PlannedRun) -> None:
        self._append(
            RETRAIN_STARTED,
            request,
            planned,
            "attempt_id",
            family=request["family"],
            settings_digest=settings_digest(self.settings),
        )

    def _finish(self, request: dict[str, Any], planned: PlannedRun, concluded: Record) -> dict[str, Any]:
        ended = {"pipeline_run": planned.run_id, "conclusion": concluded.kind, **concluded.body}
        self.journal.append(PIPELINE_STREAM, RETRAIN_FINISHED, ended, unique="cause_id")
        return {"request": request, **ended}

    def _ask_person(self, request: dict[str, Any], planned: PlannedRun) -> dict[str, Any]:
        cause, reasons = request["cause_id"], self._queue.failures(request["cause_id"])
        way_out = (
            f"alphaloop pipeline run {PIPELINE} model={request['model']} family={request['family']} "
            f"cause_id={cause}"
        )
        self._append(
            RETRAIN_ABANDONED,
            request,
            planned,
            "cause_id",
            reasons=reasons,
            way_out=way_out,
        )
        return {
            "request": request,
            "cause_id": cause,
            "pipeline_run": planned.run_id,
            "conclusion": None,
            "reasons": reasons,
            "failed": reasons[-1],
        }

    def _append(
        self, kind: str, request: dict[str, Any], planned: PlannedRun, unique: str, **more: Any
    ) -> None:
        body = {
            "cause_id": request["cause_id"],
            "model": request["model"],
            "pipeline_run": planned.run_id,
            "attempt": planned.attempt,
            "attempt_id": f"{planned.run_id}/{planned.attempt}",
            **more,
        }
        self.journal.append(PIPELINE_STREAM, kind, body, unique=unique)

    def _require_role(self) -> None:
        if self.role is not None and self.role.seconds_left() <= 0:
            self.stop()
            raise LeaseLostError(
                f"role '{self.role.role}' is no longer surely held by this process; its run is left to the "
                "next runner, and this process must stop"
            )


def make_launcher(settings: Settings) -> Launcher:
    """Return the launcher that `pipelines.runner` names; nothing is started and no server asked."""
    if settings.pipelines.runner == "kubeflow":
        from pipelines.kubeflow.launcher import KubeflowLauncher

        return KubeflowLauncher(settings)
    from pipelines.local_launcher import LocalLauncher

    return LocalLauncher(settings)
