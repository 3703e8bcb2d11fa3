"""Import Evidently's tests for drift without all the rest, which takes half a second instead of four.

Whichever module of Evidently is asked for, the package imports all of itself first: descriptors, language
models, a user interface. A look at the drift of a bar needs none of it; a report does.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import Any

PACKAGE = "evidently"


class DeferredPackage(ModuleType):
    """A package whose `__init__.py` runs once a name is asked for that is no module imported so far."""

    def __init__(self, spec: ModuleSpec, loader: Loader) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__path__ = spec, list(spec.submodule_search_locations or ())
        self.__dict__.update(_loader=loader, _lock=RLock(), _begun=False)

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        with state["_lock"]:
            if name in state:  # Another thread has imported it meanwhile.
                return state[name]
            special = name.startswith("__") and name not in {"__all__", "__version__"}
            if special or state["_begun"]:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            state["_begun"] = True
            state["_loader"].exec_module(self)
        return getattr(self, name)


def defer_evidently() -> None:
    """Have modules of Evidently imported alone from now on, and the package whole once it is asked for.

    Changes nothing where the package was imported before, or is not installed.
    """
    spec = None if PACKAGE in sys.modules else importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.loader is not None:
        sys.modules[PACKAGE] = DeferredPackage(spec, spec.loader)
