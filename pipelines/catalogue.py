"""The pipelines by name, and their compilation for a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from alphaloop.errors import UnknownNameError

PIPELINES = {"retrain": "pipelines.retraining"}
"""The module that defines each pipeline, in a function of the pipeline's name."""


def names() -> list[str]:
    """The names of all pipelines, sorted."""
    return sorted(PIPELINES)


def find(name: str) -> Callable[..., Any]:
    """The pipeline called `name`; raises `UnknownNameError`."""
    import importlib

    if name not in PIPELINES:
        raise UnknownNameError("pipeline", name, PIPELINES)
    return getattr(importlib.import_module(PIPELINES[name]), name)  # type: ignore[no-any-return]


def compile_to(name: str, path: Path) -> Path:
    """Write the pipeline's IR YAML for Kubeflow to `path`, and return it."""
    from kfp.compiler import Compiler

    pipeline = find(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    Compiler().compile(pipeline, package_path=str(path))
    return path
