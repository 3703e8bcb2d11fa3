"""Runs small cases with known answers against this checkout and prints a table of them.

    python tests/run_cases.py FOLDER [GROUP/NUMBER …]

A case is FOLDER/GROUP/NAME/run.py: it prints one line and exits 0 where the product behaves rightly. A copy
under tests/cases/GROUP/NAME/run.py takes its place, where it had to follow a change of the product. Cases of
serving need a finished `make demo`, and run by themselves, because some measure times; then the other groups
run at once, the cases of each one after the other. Exits 1 if a case is wrong; where FOLDER does not exist,
says so and exits 0.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIES = ROOT / "tests" / "cases"
MAX_SECONDS = 1_200
WIDTH = 150


def main(folder: Path, wanted: list[str]) -> int:
    """Run the cases of `folder`, or those whose GROUP/NAME begins with one of `wanted`."""
    if not folder.is_dir():
        print(f"skipped: there is no folder of cases at {folder}")
        return 0
    groups: dict[str, list[Path]] = {}
    for case in sorted(folder.glob("*/*/run.py")):
        group, name = case.parts[-3:-1]
        if not wanted or any(f"{group}/{name}".startswith(one) for one in wanted):
            groups.setdefault(group, []).append(case)
    with tempfile.TemporaryDirectory(prefix="cases-") as scratch:
        results = run_group("serving", groups.pop("serving", []), scratch)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for more in pool.map(lambda group: run_group(*group, scratch), groups.items()):
                results += more
    print(f"{sum(results)} of {len(results)} cases are right")
    return 0 if all(results) else 1


def run_group(group: str, cases: list[Path], scratch: str) -> list[bool]:
    """Run the cases of a group in their order and print a line for each; returns which are right."""
    settings = {"CASES_WORK": scratch}
    if group == "serving":
        demo = Path(os.environ.get("ALPHALOOP_DEMO", ROOT / "runs" / "demo" / "latest"))
        if not demo.exists():
            print(
                f"skipped {len(cases)} cases of {group}: they need a finished demo; run: make demo",
                flush=True,
            )
            return []
        settings["ALPHALOOP_DEMO"] = str(demo)
    results = []
    for case in cases:
        name, copy = case.parts[-2], COPIES / group / case.parts[-2] / "run.py"
        # The helpers of copies go before those beside the originals, and our packages before a helper's name.
        path = os.pathsep.join(str(one) for one in (COPIES / group, ROOT, case.parents[1]))
        right, seconds, line = run(copy if copy.exists() else case, {**settings, "PYTHONPATH": path})
        results.append(right)
        print(f"{'right' if right else 'WRONG'} {seconds:5.0f} s  {group}/{name}: {line}", flush=True)
    return results


def run(case: Path, settings: dict[str, str]) -> tuple[bool, float, str]:
    """Run one case; returns whether it is right, its seconds and the last line that it prints."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, str(case)],
            cwd=ROOT, env={**os.environ, **settings},
            capture_output=True, text=True, timeout=MAX_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False, time.monotonic() - began, f"took longer than {MAX_SECONDS} s"
    lines = (done.stdout.strip() or done.stderr.strip() or f"exit {done.returncode}").splitlines()
    line = lines[-1].replace(settings["CASES_WORK"], "…").replace(str(ROOT), ".")
    line = re.sub(r"/tmp/[\w.-]+", "…", line)
    return done.returncode == 0, time.monotonic() - began, line[:WIDTH]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), sys.argv[2:]))
