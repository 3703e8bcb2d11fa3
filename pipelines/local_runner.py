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
from alphaloop.journal.streams import PIPELINE_STREAM
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, SINGLE_THREAD_ENVIRONMENT
from alphaloop.settings.settings import Settings
from pipelines.catalogue import find_pipeline
from pipelines.steps import CONCLUSIONS

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
        Arguments of the pipeline; `run` is the id of the run, made up if missing.

    Returns
    -------
    dict
        `pipeline_run`, the `conclusion` and the body of its journal record.

    Raises
    ------
    UnknownNameError
        For a name that is not in the catalogue.
    InputError
        For an argument that the local runner would rewrite.
    VendorError
        If a step failed, with the end of its output.
    """
    from kfp import local

    pipeline = find_pipeline(name)
    run_id = arguments.pop("run", None) or f"{name}-{uuid.uuid4().hex[:12]}"
    _require_plain({"run": run_id, **arguments})
    printed = io.StringIO()
    with _plain_path(settings.paths.pipelines) as root, _step_environment(), _captured(printed):
        local.init(runner=local.SubprocessRunner(use_venv=False), pipeline_root=str(root))
        try:
            pipeline(settings=_escaped(settings.model_dump_json()), run=run_id, **arguments)
        except (RuntimeError, ValueError, TypeError) as error:
            end = printed.getvalue()[-1500:]
            raise VendorError(f"pipeline '{name}' run {run_id} failed: {error}\n{end}") from error
    return {"pipeline_run": run_id, **_conclusion(settings, run_id)}


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


def _conclusion(settings: Settings, run_id: str) -> dict[str, Any]:
    from alphaloop.clock import SystemClock

    journal = open_journal(settings, SystemClock())
    for kind in CONCLUSIONS:
        record = journal.find(PIPELINE_STREAM, kind, pipeline_run=run_id)
        if record is not None:
            return {"conclusion": kind, **record.body}
    return {"conclusion": None}


@contextlib.contextmanager
def _step_environment() -> Iterator[None]:
    """Set the environment that steps inherit: no imports from the working folder, one thread each."""
    added = {**QUIET_ENVIRONMENT, **SINGLE_THREAD_ENVIRONMENT}
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
