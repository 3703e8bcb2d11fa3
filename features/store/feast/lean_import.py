"""Import Feast without three things that nobody here asks for.

Feast imports torch for its tensors, which was half of a server's memory and a second of its start. It has
typeguard read, check and recompile the source of its classes, which was four seconds of six. And it makes a
temporary folder for the metrics of a feature server of several processes, which a killed process leaves
behind, and names it in the environment, where `prometheus_client` and the process's children find it: from
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
# Where Feast finds both of them set, be it to nothing, it makes no folder.
METRICS_FOLDERS = ("PROMETHEUS_MULTIPROCESS_DIR", "PROMETHEUS_MULTIPROC_DIR")


class LazyTorch(ModuleType):
    """In the place of Feast's own wrapper, with the same names: imports torch when it is asked for."""

    @property
    def TORCH_AVAILABLE(self) -> bool:
        """True if torch is installed."""
        return importlib.util.find_spec("torch") is not None

    @staticmethod
    def get_torch() -> Any:
        """The module; raises `ImportError` where it cannot be imported."""
        return importlib.import_module("torch")


@contextmanager
def lean_feast() -> Iterator[None]:
    """Within it Feast is imported lean; what was imported of it before stays as it is."""
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
        # It asks the environment once, when it is imported, whether values are shared between processes.
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
    """In the place of `typeguard.typechecked`, as a decorator with options or without: changes nothing."""
    if target is not None:
        return target
    identity: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return identity
