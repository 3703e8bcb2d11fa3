"""Check of a release: what continuous integration has no time for, run line by line.

    python tests/release_check.py [LINE …]

`tests/release_check.toml` has a line for each thing that a release promises, with the commands that show it;
`LINE` chooses those whose name begins so. Each command runs with `CI=true`, so that a server that is absent
fails a test instead of skipping it. Prints the commit and the date, then a row a line: held, failed or not
run and why, with the number of tests and the seconds. Exits 1 where a line failed.

A line has a `name`, a sentence (`holds`) and either `run`, a list of commands in this checkout, or `not_run`,
the reason why there is no command for it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINES = Path(__file__).with_suffix(".toml")
MAX_SECONDS = 2_700
"""Longest that one command may take, in seconds: 45 minutes."""
PASSED, SKIPPED = re.compile(r"(\d+) passed"), re.compile(r"(\d+) skipped")


@dataclass(frozen=True)
class LineResult:
    """What a line's commands gave: `state` is `held`, `FAILED` or `not run`."""

    name: str
    state: str
    seconds: float
    note: str

    def row(self) -> str:
        """Return the line of the table."""
        return f"{self.state:8}{self.seconds:8.0f} s  {self.name}: {self.note}"


def read_lines(path: Path = LINES) -> list[dict[str, Any]]:
    """Read the table of lines.

    Raises `ValueError` for a line without a name, or with both commands and a reason to run none, or neither.
    """
    lines: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["line"]
    for line in lines:
        if not line.get("name") or not line.get("holds"):
            raise ValueError(f"a line of {path.name} has no name or no sentence: {line}")
        if bool(line.get("run")) is bool(line.get("not_run")):
            raise ValueError(f"line '{line['name']}' of {path.name} takes either run or not_run")
    return lines


def check_line(line: Mapping[str, Any]) -> LineResult:
    """Run the commands of `line` until one fails."""
    name = str(line["name"])
    if "not_run" in line:
        return LineResult(name, "not run", 0.0, str(line["not_run"]))
    began, passed, skipped = time.monotonic(), 0, 0
    for command in line["run"]:
        output, problem = run_command(str(command))
        passed += sum(map(int, PASSED.findall(output)))
        skipped += sum(map(int, SKIPPED.findall(output)))
        if problem:
            print(output[-4_000:], flush=True)
            return LineResult(name, "FAILED", time.monotonic() - began, f"`{command}` {problem}")
    counted = [f"{count} {word}" for count, word in ((passed, "passed"), (skipped, "skipped")) if count]
    return LineResult(name, "held", time.monotonic() - began, ", ".join([str(line["holds"]), *counted]))


def run_command(command: str) -> tuple[str, str]:
    """Run `command` in this checkout; returns its output, and what went wrong (empty if nothing)."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    if words[0] == "pytest":
        # Which tests are long does not matter here: a line names those that it needs.
        words = [sys.executable, "-m", "pytest", "-q", "-m", "long or not long", *words[1:]]
    environment = {
        **os.environ, "CI": "true", "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }  # fmt: skip
    try:
        result = subprocess.run(
            words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=MAX_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return str(error.output or ""), f"took longer than {MAX_SECONDS} s"
    except OSError as error:
        return "", f"cannot be run: {error}"
    return result.stdout, f"ended with {result.returncode}" if result.returncode else ""


def main(wanted: Sequence[str]) -> int:
    """Check the lines whose names begin with one of `wanted`, or all; returns the exit code."""
    every = read_lines()
    lines = [line for line in every if not wanted or any(line["name"].startswith(one) for one in wanted)]
    if not lines:
        print(
            f"no line begins with {', '.join(wanted)}; there are: {', '.join(one['name'] for one in every)}"
        )
        return 1
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    print(
        f"commit {described.stdout.strip() or 'unknown'}, {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", flush=True
    )
    results = []
    for line in lines:
        results.append(check_line(line))
        print(results[-1].row(), flush=True)
    failed = [one.name for one in results if one.state == "FAILED"]
    print(
        f"{sum(one.state == 'held' for one in results)} held, {len(failed)} failed, "
        f"{sum(one.state == 'not run' for one in results)} not run"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
