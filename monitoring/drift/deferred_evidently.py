"""Import Evidently's drift tests without the rest of Evidently, in half a second instead of four.

On the import of any of its modules, Evidently first imports all of itself: descriptors, language models, a
user interface. The drift check of one bar needs none of that; a report does.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from threading import RLock
from types import ModuleType
from typing import Any

EVIDENTLY = "evidently"


class DeferredPackage(ModuleType):
    """Package whose `__init__.py` runs at the first access to a name that is not an imported module."""

    def __init__(self, spec: ModuleSpec, loader: Loader) -> None:
        super().__init__(spec.name)
        self.__spec__, self.__path__ = spec, list(spec.submodule_search_locations or ())
        self.__dict__.update(_loader=loader, _lock=RLock(), _begun=False)

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        with state["_lock"]:
            if name in state:  # another thread has imported it meanwhile
                return state[name]
            special = name.startswith("__") and name not in {"__all__", "__version__"}
            if special or state["_begun"]:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
            state["_begun"] = True
            state["_loader"].exec_module(self)
        return getattr(self, name)


def defer_evidently() -> None:
    """Defer the import of the whole Evidently package until one of its own names is used.

    Changes nothing where the package is imported already, or is not installed.
    """
    spec = None if EVIDENTLY in sys.modules else importlib.util.find_spec(EVIDENTLY)
    if spec is not None and spec.loader is not None:
        sys.modules[EVIDENTLY] = DeferredPackage(spec, spec.loader)
