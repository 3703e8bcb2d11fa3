"""A Kubeflow API on loopback, and settings that name it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alphaloop.settings.settings import Settings, load_settings

_SPEC = importlib.util.spec_from_file_location("kubeflow_api", Path(__file__).with_name("kubeflow_api.py"))


@pytest.fixture
def kubeflow() -> Iterator[Any]:
    """The API's state; `url` is where it is served."""
    assert _SPEC is not None
    assert _SPEC.loader is not None
    module = importlib.util.module_from_spec(_SPEC)
    _SPEC.loader.exec_module(module)
    with module.serve_kubeflow() as state:
        yield state


@pytest.fixture
def settings(kubeflow: Any, tmp_path: Path) -> Settings:
    """Settings of a home whose pipelines run on that server, asked at each turn."""
    server = {"runner": "kubeflow", "url": kubeflow.url, "poll_seconds": 0.000001}
    return load_settings(home=tmp_path / "home", pipelines=server)
