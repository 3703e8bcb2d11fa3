"""Locks on files: one holder at a time, and none that outlives it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from alphaloop.runtime.file_lock import exclusive_lock

HOLD = """
import sys
from pathlib import Path
from alphaloop.runtime.file_lock import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_holder_is_turned_away_until_the_first_is_dead(tmp_path: Path) -> None:
    """A lock is held among processes and threads, its folder is made, and a kill releases it."""
    path = tmp_path / "new" / "a.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with exclusive_lock(path, wait=False) as mine:
            assert not mine
        holder.kill()
    with exclusive_lock(path, wait=False) as mine, exclusive_lock(path, wait=False) as second:
        assert mine
        assert not second
