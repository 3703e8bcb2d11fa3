"""Catalogue of pipelines by name, and their compilation for a cluster."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alphaloop.errors import InputError, UnknownNameError
from alphaloop.settings.pipelines import PipelineSettings

log = logging.getLogger(__name__)

PIPELINES = ("backfill", "evaluation", "features", "monitoring", "retraining", "training")
"""Names of the pipelines; each is built by `define_NAME` in `pipelines.definitions.NAME`."""
FORMER_NAMES = {"retrain": "retraining"}
"""Names that a release before used, which are understood for one release."""
RUN_ARGUMENTS = frozenset({"settings", "cause_id", "run"})
"""Arguments of every pipeline, which whoever starts a run fills in."""


def pipeline_names() -> list[str]:
    """Return the names of all pipelines, sorted.

    Examples
    --------
    >>> pipeline_names()
    ['backfill', 'evaluation', 'features', 'monitoring', 'retraining', 'training']
    """
    return sorted(PIPELINES)


def present_name(name: str) -> str:
    """Return the present name of a pipeline; a former one is logged as such.

    Raises `UnknownNameError` for a name that no pipeline has, or had.
    """
    if name in FORMER_NAMES:
        log.warning(
            "pipeline '%s' is called '%s' now; the former name ends with the next release",
            name,
            FORMER_NAMES[name],
        )
        return FORMER_NAMES[name]
    if name not in PIPELINES:
        raise UnknownNameError("pipeline", name, PIPELINES)
    return name


def find_pipeline(name: str, options: PipelineSettings | None = None) -> Callable[..., Any]:
    """Build the pipeline called `name`.

    Parameters
    ----------
    name : str
        One of `PIPELINES`, or a former name.
    options : PipelineSettings, optional
        What its steps get on a cluster; by default they are left as the local runner takes them.

    Returns
    -------
    callable
        The Kubeflow pipeline.

    Raises
    ------
    UnknownNameError
        For any other name.
    """
    import importlib

    from pipelines.compile_options import CompileOptions

    name = present_name(name)
    module = importlib.import_module(f"pipelines.definitions.{name}")
    return getattr(module, f"define_{name}")(CompileOptions(options))  # type: ignore[no-any-return]


def checked_arguments(name: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """Return `arguments` if they are those of the pipeline, without the ones of every run.

    Raises
    ------
    InputError
        For an argument that the pipeline does not have, or that is missing.
    """
    pipeline = find_pipeline(name)
    signature = inspect.signature(pipeline.pipeline_func)  # type: ignore[attr-defined]
    needed = set(signature.parameters) - RUN_ARGUMENTS
    given = {key: value for key, value in arguments.items() if key not in RUN_ARGUMENTS}
    listed = ", ".join(sorted(needed)) or "none"
    for argument in sorted(set(given) - needed):
        raise InputError(f"pipeline '{name}' has no argument '{argument}'; it has {listed}")
    for argument in sorted(needed - set(given)):
        raise InputError(f"pipeline '{name}' needs the argument '{argument}'; give {argument}=VALUE")
    return given


def write_pipeline_yaml(name: str, path: Path, options: PipelineSettings | None = None) -> Path:
    """Compile a pipeline to IR YAML for Kubeflow.

    The file holds nothing of the machine that compiles: no path, no address of a store, no password.

    Parameters
    ----------
    name : str
        Name of the pipeline.
    path : Path
        File to write; its folder is made.
    options : PipelineSettings, optional
        Image, resources, user, secrets and config of its steps.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    UnknownNameError
        For a name that is not in the catalogue.
    """
    return compile_to(find_pipeline(name, options), path)


def compile_to(pipeline: Callable[..., Any], path: Path) -> Path:
    """Compile a built pipeline to `path`, whose folder is made; returns `path`."""
    from kfp.compiler import Compiler

    path.parent.mkdir(parents=True, exist_ok=True)
    Compiler().compile(pipeline, package_path=str(path))
    return path
