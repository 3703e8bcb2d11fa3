"""Run pipelines on this machine with Kubeflow's local runner, each step in a process of its own."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from alphaloop.errors import InputError, VendorError
from alphaloop.journal.opening import open_journal
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, SINGLE_THREAD_ENVIRONMENT
from alphaloop.settings.settings import Settings
from pipelines.catalogue import checked_arguments, find_pipeline, present_name
from pipelines.conclusions import conclusion_of
from pipelines.launcher import run_id_of
from pipelines.run_parameter import environment_of_runs, run_parameter

REPLACED_TEXTS = ("python3", "{{")
"""Texts that Kubeflow's local runner replaces anywhere in a parameter: by its interpreter, or by a value."""


def run_pipeline(name: str, settings: Settings, **arguments: str) -> dict[str, Any]:
    """Run a pipeline on this machine to its end.

    The home of the settings may lie under any path.

    Parameters
    ----------
    name : str
        Name of the pipeline.
    settings : Settings
        Settings of every step.
    **arguments : str
        Arguments of the pipeline. `cause_id` is what the run is for, by default the run itself; `run` is the
        id of the run, by default that of the cause.

    Returns
    -------
    dict
        `pipeline_run`, the `conclusion` and the body of its journal record.

    Raises
    ------
    UnknownNameError
        For a name that is not in the catalogue.
    InputError
        For an argument that the pipeline does not have, that is missing, or that the local runner would
        rewrite.
    VendorError
        If a step failed, with the end of its output.
    """
    from kfp import local

    name = present_name(name)
    cause = arguments.get("cause_id") or f"{name}-{uuid.uuid4().hex[:12]}"
    run_id = arguments.get("run") or (run_id_of(name, cause) if "cause_id" in arguments else cause)
    given = {**checked_arguments(name, arguments), "cause_id": cause, "run": run_id}
    _require_plain(given)
    printed = io.StringIO()
    pipeline = find_pipeline(name)
    with _plain_path(settings.paths.pipelines) as root, _step_environment(settings), _captured(printed):
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
        try:
            pipeline(settings=_escaped(run_parameter(settings)), **given)
        except (RuntimeError, ValueError, TypeError) as error:
            end = printed.getvalue()[-1500:]
            raise VendorError(f"pipeline '{name}' run {run_id} failed: {error}\n{end}") from error
    return {"pipeline_run": run_id, **_conclusion(settings, cause)}


def _escaped(text: str) -> str:
    """Escape the texts in a JSON document that Kubeflow's local runner would replace."""
    for word in REPLACED_TEXTS:
        text = text.replace(word, f"\\u{ord(word[0]):04x}{word[1:]}")
    return text


def _require_plain(arguments: Mapping[str, str]) -> None:
    """Raise `InputError` for an argument that Kubeflow's local runner would rewrite."""
    for name, value in arguments.items():
        if _is_replaced(value):
            raise InputError(
                f"{name} is '{value}', of which Kubeflow's local runner rewrites a part; use another name"
            )


@contextlib.contextmanager
def _plain_path(folder: Path) -> Iterator[Path]:
    """Link to `folder` from a path without any text that the local runner would replace."""
    folder.mkdir(parents=True, exist_ok=True)
    if _is_replaced(tempfile.gettempdir()):
        raise InputError(
            f"temporary files lie in {tempfile.gettempdir()}, of which Kubeflow's local runner rewrites a "
            "part; set TMPDIR to another folder"
        )
    with tempfile.TemporaryDirectory(prefix="alphaloop-pipelines-") as kept:
        link = Path(kept) / "root"
        link.symlink_to(folder.resolve(), target_is_directory=True)
        yield link


def _is_replaced(text: str) -> bool:
    return any(word in text for word in REPLACED_TEXTS)


def _conclusion(settings: Settings, cause_id: str) -> dict[str, Any]:
    from alphaloop.clock import SystemClock

    with open_journal(settings, SystemClock()) as journal:
        record = conclusion_of(journal, cause_id)
    return {"conclusion": None} if record is None else {"conclusion": record.kind, **record.body}


@contextlib.contextmanager
def _step_environment(settings: Settings) -> Iterator[None]:
    """Set the environment that steps inherit: the stores of the settings, one thread each."""
    before = dict(os.environ)
    changed = {**environment_of_runs(settings), **QUIET_ENVIRONMENT, **SINGLE_THREAD_ENVIRONMENT}
    os.environ.clear()
    os.environ.update(changed)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _captured(printed: io.StringIO) -> Iterator[None]:
    """Capture the output and log of the local runner for the error message."""
    handler = logging.StreamHandler(printed)
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, [handler]
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            yield
    finally:
        root.handlers = handlers
