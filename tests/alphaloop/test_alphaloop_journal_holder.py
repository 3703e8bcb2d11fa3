"""Holders of roles: when a process of this machine is known to be gone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from alphaloop.journal import holder


def test_a_step_of_the_wall_clock_leaves_a_living_holder_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    """The start is counted in ticks since the machine's start; what the wall clock makes of it moves."""
    name, create_time = holder.this_process(), psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    assert not holder.is_gone(name)


def test_a_process_that_ended_is_known_to_be_gone() -> None:
    """A number without a process, and a number that another process has now, are both a holder gone."""
    own = holder.this_process()
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert holder.is_gone(own.replace(f":{os.getpid()}#", f":{child.pid}#"))
    assert holder.is_gone(own + "1")


def test_a_holder_that_nobody_can_look_at_is_never_known_to_be_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another machine of the same name, an earlier start of this one, no `/proc`: all wait for the lease."""
    own = holder.this_process()
    place, _, rest = own.partition("#")
    namespace, _, start = rest.partition(".")
    ticks = start.partition("/")[2]
    for name in (
        f"{place}#{namespace}.another-boot/{ticks}1",
        f"{place}#{namespace}.5",
        f"x{own}1",
        "runner",
    ):
        assert not holder.is_gone(name)
    monkeypatch.setattr(holder, "PROC", tmp_path)
    monkeypatch.setattr(holder, "BOOT_ID", tmp_path / "boot_id")
    assert not holder.is_gone(own + "1")


def test_the_start_is_read_behind_a_program_name_with_parentheses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever names its program `a) S 1 (b` moves no field."""
    (tmp_path / "7").mkdir()
    fields = " ".join(str(number) for number in range(4, 53))
    (tmp_path / "7" / "stat").write_text(f"7 (a) S 1 (b) S {fields}\n")
    monkeypatch.setattr(holder, "PROC", tmp_path)
    assert holder._ticks(7) == "22"
