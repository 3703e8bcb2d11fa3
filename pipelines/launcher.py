"""Runs of pipelines as a runner follows them: what is to run, how it stands, and who runs it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

PLAIN_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,60}[a-z0-9])?")


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One attempt at a run.

    Parameters
    ----------
    pipeline : str
        Name of the pipeline.
    run_id : str
        Id of the run, the same for each attempt, so that steps that were done are found again.
    attempt : int
        Number of the attempt, from 1.
    arguments : mapping of str to str
        Arguments of the pipeline, with `cause_id`, without `settings` and `run`.
    """

    pipeline: str
    run_id: str
    attempt: int = 1
    arguments: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the attempt on a server, by which it is looked for before it is submitted."""
        return self.run_id if self.attempt == 1 else f"{self.run_id}-try-{self.attempt}"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """State of an attempt, with the reason of a failure, and what a reader of the page should know."""

    state: RunState
    reason: str = ""
    note: str = ""


class Launcher(Protocol):
    """Launcher of pipeline runs: on this machine, or on a Kubeflow server."""

    def follow(self, planned: PlannedRun) -> RunStatus:
        """Start the attempt where it was not started, and say how it stands; returns at once."""
        ...

    def stop(self) -> None:
        """End what would end with this process anyway."""
        ...


def run_id_of(pipeline: str, cause_id: str) -> str:
    """Return the id of the run of a cause, which is a name that Kubernetes takes too.

    Examples
    --------
    >>> run_id_of("retraining", "46faafc06e33ba8f")
    'retraining-46faafc06e33ba8f'
    >>> run_id_of("retraining", "drift of May")
    'retraining-a96532cea472622e'
    """
    plain = PLAIN_NAME.fullmatch(cause_id) and "python3" not in cause_id
    return f"{pipeline}-{cause_id if plain else hashlib.sha256(cause_id.encode()).hexdigest()[:16]}"
