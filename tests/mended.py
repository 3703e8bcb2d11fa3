"""Shows that the tests of mended faults fail on the code of before.

    python tests/mended.py REVISION

Reads tests/mended.tsv: an area, the kind of a fault, a test of the kind and one of a neighbour. The tests of
this checkout are run over the packages of REVISION, in a scratch work tree. Each has to fail there, at least
by not finding what it tests. Exits 1 if one passes.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
# An editable installation finds modules that are new since REVISION in this checkout: it is left out.
ONLY_BEFORE = """import sys
sys.meta_path = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
"""


def main(revision: str) -> int:
    """Print the table; see the module's docstring."""
    with open(ROOT / "tests" / "mended.tsv", newline="") as file:
        rows = [row for row in csv.reader(file, delimiter="\t") if row and not row[0].startswith("#")]
    with tempfile.TemporaryDirectory(prefix="before-") as scratch:
        before = Path(scratch) / "before"
        subprocess.run(
            ["git", "worktree", "add", "-q", "--detach", str(before), revision], cwd=ROOT, check=True
        )
        try:
            results = outcomes(before, sorted({test for row in rows for test in row[2:]}))
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(before)], cwd=ROOT, check=True)
    passing = 0
    for area, kind, *tests in rows:
        for role, test in zip(("kind", "neighbour"), tests, strict=True):
            outcome = results.get(test, "not collected")
            passing += outcome == "passed"
            print(f"{area:8} {kind:60.60} {role:9} {outcome:13} {test}")
    print(f"{len(rows)} kinds, {2 * len(rows)} tests, {passing} of them pass on the code of before")
    return 1 if passing else 0


def outcomes(before: Path, tests: list[str]) -> dict[str, str]:
    """How each of `tests` ends over the packages of `before`: passed, failed, or not importable."""
    subprocess.run(["rm", "-rf", str(before / "tests")], check=True)
    subprocess.run(["cp", "-a", str(ROOT / "tests"), str(before / "tests")], check=True)
    (before / "sitecustomize.py").write_text(ONLY_BEFORE)
    files = sorted({test.partition("::")[0] for test in tests})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(
            lambda file: of_file(before, file, [one for one in tests if one.startswith(file)]), files
        )
    return {test: outcome for one in found for test, outcome in one.items()}


def of_file(before: Path, file: str, tests: list[str]) -> dict[str, str]:
    """How the tests of one file end; one pytest for each, so that a file that fails stops no other."""
    report = before / f"{Path(file).stem}.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "",
        f"--junitxml={report}",
    ]
    subprocess.run(
        [*command, *tests],
        cwd=before, env={**os.environ, "PYTHONPATH": str(before), "PYTHONSAFEPATH": "1"},
        capture_output=True, check=False,
    )  # fmt: skip
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    return {test: outcome_of(cases, test.rpartition("::")[2]) for test in tests}


def outcome_of(cases: list[ET.Element], name: str) -> str:
    """How the example `name` of a test ends; of a test without `[…]`, `failed` where any example fails."""
    own = [one for one in cases if name in (one.get("name", ""), one.get("name", "").partition("[")[0])]
    if not own:
        return "not importable"
    failed = any(one.find("failure") is not None or one.find("error") is not None for one in own)
    return "failed" if failed else "passed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
