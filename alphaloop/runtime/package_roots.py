"""A check, first in every process, that all packages come from one folder.

The packages have plain names (`models`, `features`), so a folder of the user's may shadow one. A child
started in such a folder would silently import the wrong package and report success.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from alphaloop.errors import ShadowedPackageError

PACKAGES = (
    "alphaloop",
    "marketdata",
    "features",
    "models",
    "serving",
    "trading",
    "rollouts",
    "monitoring",
    "pipelines",
    "loop",
    "cli",
)
"""Top-level packages of alphaloop."""


def require_one_root() -> None:
    """Raise `ShadowedPackageError` unless every package found lies beside `alphaloop`."""
    root = Path(__file__).resolve().parents[2]
    for package in PACKAGES:
        origin = _origin(package)
        if origin is not None and origin.parent != root:
            raise ShadowedPackageError(
                f"the package '{package}' comes from {origin}, which shadows alphaloop's own in "
                f"{root / package}; start from another folder, or set PYTHONSAFEPATH=1"
            )


def _origin(package: str) -> Path | None:
    loaded = sys.modules.get(package)
    if loaded is not None and getattr(loaded, "__file__", None):
        return Path(str(loaded.__file__)).resolve().parent
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    locations = [spec.origin] if spec.origin else list(spec.submodule_search_locations or [])
    if not locations:
        return None
    location = Path(locations[0]).resolve()
    return location.parent if spec.origin else location
