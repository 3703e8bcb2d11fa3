"""Run pipelines on this machine in a child, which the runner follows and which ends with it.

The child is `python -m pipelines.local_launcher`. It reads the run as one line of JSON and writes the reason
of a failure as one. Once its standard input ends, because the runner was stopped or killed, it ends itself
and its steps.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from alphaloop.errors import AlphaloopError, InputError
from alphaloop.runtime.file_lock import exclusive_lock
from alphaloop.runtime.processes import QUIET_ENVIRONMENT
from alphaloop.settings.settings import Settings, load_settings
from pipelines.launcher import PlannedRun, RunState, RunStatus
from pipelines.run_parameter import environment_of_runs

MAX_WAIT_SECONDS = 10.0


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[str]
    outcome: IO[str]


@dataclass(slots=True)
class LocalLauncher:
    """Launcher of one run at a time on this machine.

    Parameters
    ----------
    settings : Settings
        Settings of the runs.
    """

    settings: Settings
    _child: _Child | None = field(default=None, init=False)

    def follow(self, planned: PlannedRun) -> RunStatus:
        """Start the attempt in a child where none runs, and say how it stands; returns at once."""
        if self._child is None or self._child.name != planned.name:
            self.stop()
            self._child = self._started(planned)
        child = self._child
        if child.process.poll() is None:
            return RunStatus(RunState.RUNNING)
        self._child = None
        return _status(child)

    def stop(self) -> None:
        """Kill the child and its steps; idempotent."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.process.poll() is None:
            os.killpg(child.process.pid, signal.SIGKILL)
        child.process.wait(MAX_WAIT_SECONDS)
        _close(child)

    def _started(self, planned: PlannedRun) -> _Child:
        outcome = TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115 - closed with the child
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local_launcher"],
            stdin=subprocess.PIPE,
            stdout=outcome,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            # Found without the working folder, where a user may keep a `models` of his own.
            env={
                **environment_of_runs(self.settings),
                **QUIET_ENVIRONMENT,
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
        )
        run = {
            "pipeline": planned.pipeline,
            "arguments": {**planned.arguments, "run": planned.run_id},
        }
        if process.stdin is None:
            raise InputError("a child of this process has no standard input")
        process.stdin.write(json.dumps(run) + "\n")
        process.stdin.flush()
        return _Child(planned.name, process, outcome)


def _status(child: _Child) -> RunStatus:
    child.outcome.seek(0)
    text = child.outcome.read()
    code = child.process.returncode
    _close(child)
    if code == 0:
        return RunStatus(RunState.DONE)
    if not text:
        return RunStatus(RunState.FAILED, f"the process of the run ended with {code} and left no reason")
    return RunStatus(RunState.FAILED, str(json.loads(text)["failed"]))


def _close(child: _Child) -> None:
    child.outcome.close()
    if child.process.stdin is not None:
        child.process.stdin.close()


def _end_with_input() -> None:
    """Kill this process and its steps once standard input ends."""
    while sys.stdin.buffer.read(1):
        continue
    os.killpg(os.getpgrp(), signal.SIGKILL)


def run_from_input() -> int:
    """Run what standard input says; returns 0, or 1 with the reason on standard output."""
    from pipelines.local_runner import run_pipeline

    run: dict[str, Any] = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_input, daemon=True).start()
    settings = load_settings()
    lock: Path = settings.paths.pipelines / f"{run['arguments']['run']}.lock"
    try:
        # A runner that was stopped beyond its lease may still have a child: the successor's waits for it, and
        # then finds its steps done.
        with exclusive_lock(lock):
            run_pipeline(run["pipeline"], settings, **run["arguments"])
    except AlphaloopError as error:
        sys.stdout.write(json.dumps({"failed": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(run_from_input())
