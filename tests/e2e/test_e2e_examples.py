"""Each example runs as its page says, and shows what it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHOWN = {
    "own_csv_to_features": [r"1,503 rows: nothing wrong", r"CHARLIE +\d"],
    "own_indicator": [r"efficiency_10: mean 0\.\d+, lookback 11", r"50 live bars from batch: 0\.0e\+00"],
    "own_family": [r"family +least-squares", r"fidelity_max_abs_diff +\S"],
    "ask_the_server": [r"equities version 1 at 2019-06-28", r"both clients have the same scores: True"],
    "read_the_journal": [
        r"stream trading: \d+ records, whole",
        r"the same order follows from its decision: True",
        r"check +no journal record was altered +yes",
    ],
    "backtest": [r"\n +20 .*%", r"equal weight"],
    "rollout": [r"shadow +0\.00", r"canary +0\.05", r"canary +0\.25"],
    "drift": [r"2020-03-\d\d: \d+% of the features have drifted"],
}
# They train models and serve them.
SLOW = {"own_family", "ask_the_server", "read_the_journal", "rollout"}
NOTEBOOKS = sorted(path.stem for path in EXAMPLES.glob("*.ipynb"))


def test_every_example_is_run_here_and_stands_in_the_page() -> None:
    """A file without a test, or that the page does not name, would go stale unseen."""
    scripts = {path.stem for path in EXAMPLES.glob("*.py")} - {"small_workspace"}
    assert scripts == set(SHOWN)
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([\w.]+)`", page, re.MULTILINE))
    assert named == {f"{name}.py" for name in scripts} | {f"{name}.ipynb" for name in NOTEBOOKS}


def run(program: list[str], folder: Path) -> str:
    """Run a program in an empty folder, as from a shell, and return what it prints."""
    dropped = ("ALPHALOOP_", "COVERAGE", "PYTHONSAFEPATH")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    result = subprocess.run(
        [sys.executable, *program], cwd=folder, env=environment, capture_output=True, text=True, timeout=280
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in SHOWN]
)
def test_a_script_shows_what_it_promises(name: str, tmp_path: Path) -> None:
    """It ends with exit code 0 in any folder, leaves nothing behind, and its lines are there."""
    shown = run([str(EXAMPLES / f"{name}.py")], tmp_path)
    for line in SHOWN[name]:
        assert re.search(line, shown), shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    """Its cells are run in one session, in order; none was saved with output, which would go stale."""
    cells = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 2
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    (tmp_path / "notebook.py").write_text("\n".join("".join(cell["source"]) for cell in code))
    run(["notebook.py"], tmp_path)
