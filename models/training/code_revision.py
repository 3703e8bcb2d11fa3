"""The revision of alphaloop's code."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "alphaloop"


def code_revision() -> str:
    """Return the commit of the checkout, with `-dirty` if changed, else the installed version."""
    root = Path(__file__).resolve().parents[2]
    git = shutil.which("git")
    if git is not None and (root / ".git").exists():
        described = subprocess.run(
            [git, "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            check=False,
        )
        if described.returncode == 0:
            return described.stdout.strip()
    try:
        return f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"
    except metadata.PackageNotFoundError:
        return "unknown"
