"""The documents build as a site: part of `make lint`, like the other checks of the tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alphaloop.runtime.processes import child_environment

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Every page is in the navigation, every link and anchor of the site is there; no network is needed."""
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(tmp_path / "site")],
        cwd=ROOT, env={**child_environment(), "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (result.returncode, result.stdout + result.stderr) == (0, "")
    pages = list((ROOT / "docs").rglob("*.md"))
    assert len(list((tmp_path / "site").rglob("index.html"))) == len(pages)
