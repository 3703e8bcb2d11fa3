"""Runs on a Kubeflow server: looked for by name, submitted where none is there, and followed by polling."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaloop.clock import boot_time
from alphaloop.settings.settings import Settings
from pipelines.catalogue import checked_arguments, write_pipeline_yaml
from pipelines.kubeflow.server import KubeflowServer, ServerAwayError
from pipelines.launcher import PlannedRun, RunState, RunStatus
from pipelines.run_parameter import run_parameter

log = logging.getLogger(__name__)

ENDED_WELL, ENDED_BADLY = ("SUCCEEDED",), ("FAILED", "CANCELED", "SKIPPED")


@dataclass(slots=True)
class KubeflowLauncher:
    """Launcher of runs on a Kubeflow server.

    A run is named after its cause. It is looked for by that name each time, so that a run that the server
    forgot is submitted again, one that another runner submitted is followed, and of two runs of one name the
    first counts and the others are terminated.

    Parameters
    ----------
    settings : Settings
        Settings of the runs; section `pipelines` names the server and the options of the steps.
    """

    settings: Settings
    server: KubeflowServer = field(init=False)
    _asked_at: float | None = field(default=None, init=False)
    _asked_for: str = field(default="", init=False)
    _status: RunStatus = field(default_factory=lambda: RunStatus(RunState.RUNNING), init=False)

    def __post_init__(self) -> None:
        self.server = KubeflowServer(self.settings.pipelines)

    def follow(self, planned: PlannedRun) -> RunStatus:
        """Submit the run where the server has none of its name, and say how it stands.

        The server is asked once in `pipelines.poll_seconds`; while it is away the run counts as running.
        """
        now = boot_time()
        soon = self._asked_at is not None and now - self._asked_at < self.settings.pipelines.poll_seconds
        if soon and self._asked_for == planned.name:
            return self._status
        self._asked_at, self._asked_for = now, planned.name
        try:
            self._status = self._look(planned)
        except ServerAwayError as error:
            self._status = RunStatus(RunState.RUNNING, note=str(error))
        return self._status

    def stop(self) -> None:
        """Leave the run on the server to the next runner, which finds it by its name."""

    def _look(self, planned: PlannedRun) -> RunStatus:
        found = self.server.runs(planned.name)
        if not found:
            self._submit(planned)
            return RunStatus(RunState.RUNNING)
        first, *others = found
        for run in others:
            if run.state not in (*ENDED_WELL, *ENDED_BADLY, "CANCELING"):
                log.warning(
                    "run %s of '%s' is terminated: %s came first", run.run_id, planned.name, first.run_id
                )
                self.server.terminate(run.run_id)
        return _status_of(first)

    def _submit(self, planned: PlannedRun) -> None:
        arguments = checked_arguments(planned.pipeline, planned.arguments)
        parameters = {
            **arguments,
            "settings": run_parameter(self.settings),
            "cause_id": planned.arguments["cause_id"],
            "run": planned.run_id,
        }
        with tempfile.TemporaryDirectory(prefix="alphaloop-pipelines-") as folder:
            package = write_pipeline_yaml(
                planned.pipeline, Path(folder) / "pipeline.yaml", self.settings.pipelines
            )
            self.server.submit(planned.name, package, parameters)


def _status_of(run: Any) -> RunStatus:
    if run.state in ENDED_WELL:
        return RunStatus(RunState.DONE)
    if run.state in ENDED_BADLY:
        said = f": {run.error.message}" if run.error is not None and run.error.message else ""
        return RunStatus(RunState.FAILED, f"run {run.run_id} ended as {run.state} on the server{said}")
    return RunStatus(RunState.RUNNING)
