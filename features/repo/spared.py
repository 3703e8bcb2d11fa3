"""What Feast would import for nothing: torch, at once, for tensors that nobody asks for here.

Where torch is installed, that was half of a server's memory and a good second of its start.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

WRAPPER = "feast.torch_wrapper"


class TorchWhenAsked(ModuleType):
    """In the place of Feast's own wrapper, with the same names: it imports torch when it is asked for."""

    @property
    def TORCH_AVAILABLE(self) -> bool:
        """Whether torch is installed."""
        return importlib.util.find_spec("torch") is not None

    @staticmethod
    def get_torch() -> Any:
        """The module; raises `ImportError` where it cannot be imported."""
        return importlib.import_module("torch")


def spare_torch() -> None:
    """Call before Feast is imported; afterwards it does nothing."""
    sys.modules.setdefault(WRAPPER, TorchWhenAsked(WRAPPER))
