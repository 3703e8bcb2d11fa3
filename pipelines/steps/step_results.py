"""Results of steps in the journal, so that no step of a run that was done is done again."""

from __future__ import annotations

from collections.abc import Callable

from alphaloop.clock import SystemClock
from alphaloop.journal.opening import open_journal
from alphaloop.journal.streams import PIPELINE_STREAM
from alphaloop.settings.settings import Settings

STEP_DONE = "step.done"


def once(settings: Settings, run: str, step: str, work: Callable[[], str]) -> str:
    """Return what `step` of `run` found, which `work` computes where the journal does not hold it yet.

    Without a run nothing is remembered.

    Where two processes do the same step at a time, the result that is journalled first counts for both.

    Parameters
    ----------
    settings : Settings
        Settings that name the journal.
    run : str
        Id of the pipeline run; empty for a step that is called by itself.
    step : str
        Name of the step within the run.
    work : callable
        Does the step; returns its result.

    Returns
    -------
    str
    """
    if not run:
        return work()
    key = f"{run}/{step}"
    with open_journal(settings, SystemClock()) as journal:
        done = journal.find(PIPELINE_STREAM, STEP_DONE, key=key)
        if done is None:
            body = {"key": key, "pipeline_run": run, "step": step, "result": work()}
            done = journal.append(PIPELINE_STREAM, STEP_DONE, body, unique="key")
    return str(done.body["result"])
