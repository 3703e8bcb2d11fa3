"""Import Feast without three side effects that are not needed here.

Feast imports torch for its tensors, which was half of a server's memory and a second of its start. It makes
typeguard read, check and recompile the source of its classes, which was four seconds of six. And it creates a
temporary folder for the metrics of a feature server of several processes, which a killed process leaves
behind. It puts that folder into the environment, where `prometheus_client` and child processes find it: from
then on counters of different registries share their values.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

TORCH_WRAPPER = "feast.torch_wrapper"
# Feast creates no folder if both are set, even to an empty value.
METRICS_FOLDERS = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


class LazyTorch(ModuleType):
    """Replacement of Feast's own wrapper, with the same names: imports torch only at first use."""

    @property
    def TORCH_AVAILABLE(self) -> bool:
        """True if torch is installed."""
        return importlib.util.find_spec("torch") is not None

    @staticmethod
    def get_torch() -> Any:
        """Return the torch module. Raises `ImportError` if it cannot be imported."""
        return importlib.import_module("torch")


@contextmanager
def lean_feast() -> Iterator[None]:
    """Import Feast lean within the block; modules imported before stay as they are."""
    sys.modules.setdefault(TORCH_WRAPPER, LazyTorch(TORCH_WRAPPER))
    with ExitStack() as stack:
        stack.enter_context(_without_run_time_type_checks())
        stack.enter_context(_without_metrics_folder())
        yield


@contextmanager
def _without_run_time_type_checks() -> Iterator[None]:
    try:
        import typeguard
    except ImportError:
        yield
        return
    typechecked = typeguard.typechecked
    typeguard.typechecked = _unchecked  # type: ignore[assignment]
    try:
        yield
    finally:
        typeguard.typechecked = typechecked


@contextmanager
def _without_metrics_folder() -> Iterator[None]:
    try:
        # It reads the environment once, at import, to decide whether processes share values.
        import prometheus_client  # noqa: F401
    except ImportError:
        yield
        return
    added = [name for name in METRICS_FOLDERS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, ""))
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def _unchecked(target: Any = None, **options: Any) -> Any:
    """Replace `typeguard.typechecked`, with or without options, by a decorator that changes nothing."""
    if target is not None:
        return target
    identity: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return identity
