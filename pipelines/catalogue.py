"""Catalogue of pipelines by name, and their compilation for a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphaloop.errors import UnknownNameError

PIPELINES = {"retrain": "pipelines.retraining"}
"""Module of each pipeline; the function in it has the pipeline's name."""


def pipeline_names() -> list[str]:
    """Return the names of all pipelines, sorted.

    Examples
    --------
    >>> pipeline_names()
    ['retrain']
    """
    return sorted(PIPELINES)


def find_pipeline(name: str) -> Callable[..., Any]:
    """Import the pipeline called `name`.

    Parameters
    ----------
    name : str
        One of the names in `PIPELINES`.

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

    if name not in PIPELINES:
        raise UnknownNameError("pipeline", name, PIPELINES)
    return getattr(importlib.import_module(PIPELINES[name]), name)  # type: ignore[no-any-return]


def write_pipeline_yaml(name: str, path: Path) -> Path:
    """Compile a pipeline to IR YAML for Kubeflow.

    Parameters
    ----------
    name : str
        Name of the pipeline.
    path : Path
        File to write; its folder is made.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    UnknownNameError
        For a name that is not in the catalogue.
    """
    from kfp.compiler import Compiler

    pipeline = find_pipeline(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Compiler().compile(pipeline, package_path=str(path))
    return path
