"""Which revision of the code this is."""

from __future__ import annotations

import shutil
import subprocess
from importlib import metadata
from pathlib import Path

DISTRIBUTION = "alphaloop"


def code_revision() -> str:
    """The commit of the checkout, with `-dirty` where it was changed; else the version installed."""
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
