"""Data files that packages carry: read where they lie, the package itself never imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from alphaloop.errors import MissingPartError


def package_file(source: str, package: str, file: str) -> Path:
    """Where the installed `package` keeps `file`, which `source` reads; `MissingPartError` if it does not."""
    distribution = package.replace("_", "-")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPartError(
            f"source '{source}' reads a data file of the package {distribution}, which is not installed; "
            "install alphaloop[features]"
        )
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise MissingPartError(
            f"the package {distribution} has no file {file}; install the version in constraints.txt"
        )
    return path
