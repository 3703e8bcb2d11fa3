"""Import Feast without two things that take seconds and that nobody here asks for.

Feast imports torch for its tensors, which was half of a server's memory and a second of its start. And it has
typeguard read, check and recompile the source of its classes, which was four seconds of six.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

TORCH_WRAPPER = "feast.torch_wrapper"


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


def _unchecked(target: Any = None, **options: Any) -> Any:
    """In the place of `typeguard.typechecked`, as a decorator with options or without: changes nothing."""
    if target is not None:
        return target
    identity: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return identity
