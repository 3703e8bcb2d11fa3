"""New workspaces from templates: settings, folders for bars and for the user's own code, a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from alphaloop.errors import InputError, UnknownNameError

TEMPLATES = ("daily", "crypto", "fx")
"""Kinds of workspace: daily bars of an exchange, hourly bars of coins, hourly bars of foreign exchange."""
SHARED = "shared"
"""Folder of the files that all workspaces have."""
TEMPLATE_FOLDER = Path(__file__).parent / "templates"


def create_workspace(folder: Path, template: str) -> list[Path]:
    """Write a workspace into `folder`, which is made if it does not exist.

    Parameters
    ----------
    folder : Path
        Folder that does not exist or is empty.
    template : str
        One of `TEMPLATES`.

    Returns
    -------
    list of Path
        Written files, sorted.

    Raises
    ------
    UnknownNameError
        For a template that does not exist.
    InputError
        If `folder` is a file, or holds anything.
    """
    if template not in TEMPLATES:
        raise UnknownNameError("template", template, TEMPLATES)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; name a folder that does not exist yet, or an empty one")
    if folder.is_dir() and (held := sorted(path.name for path in folder.iterdir())):
        more = ", …" if len(held) > 1 else ""
        raise InputError(
            f"{folder} is not empty (it holds {held[0]}{more}); name a folder that does not exist yet, or an "
            "empty one"
        )
    written = []
    for relative, source in _template_files(template):
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        written.append(target)
    return sorted(written)


def _template_files(template: str) -> Iterator[tuple[Path, Path]]:
    """Yield each file's path in the workspace, and its source."""
    for part in (SHARED, template):
        root = TEMPLATE_FOLDER / part
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(root), path
