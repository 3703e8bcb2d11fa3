"""Data files in installed packages, read without importing the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from alphaloop.errors import MissingPartError


def package_file(source: str, package: str, file: str) -> Path:
    """Return the path of `file` in the installed `package`, for the source named `source`.

    `MissingPartError` if the package or the file is missing.
    """
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
