"""The `alphaloop demo` command: runs the scenario in a child process and cleans up in every case.

This process adopts every descendant that loses its parent, so that when the scenario ends, is interrupted or
is killed, all of its servers can be found and stopped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from alphaloop.clock import SystemClock
from alphaloop.runtime.processes import adopt_orphans, child_environment, die_with_parent, stop_descendants
from alphaloop.settings.settings import load_settings
from cli.demo.scenario_config import SCENARIO_FILE, ScenarioConfig
from cli.output import print_error

DEMO_FOLDER = Path("runs/demo")
INTERRUPTED = 130
GRACE_SECONDS = 8.0


def run_demo(config: ScenarioConfig | None = None, folder: Path = DEMO_FOLDER) -> int:
    """Run the scenario of `config` and return its exit code.

    The report is in `folder`/latest.

    Raises `SettingsError` for invalid settings in the environment or in `alphaloop.toml`.
    """
    load_settings()
    home = _new_home(folder.resolve(), SystemClock().now())
    (home / SCENARIO_FILE).write_text((config or ScenarioConfig()).to_json())
    scratch = Path(tempfile.mkdtemp(prefix="al-"))
    adopt_orphans()
    child = subprocess.Popen(
        [sys.executable, "-m", "cli.demo.scenario", str(home), str(scratch)],
        env=child_environment({"ALPHALOOP_HOME": str(home), "TMPDIR": str(scratch)}),
        # This process has one thread, so nothing can hold a lock across the fork.
        preexec_fn=die_with_parent,  # noqa: PLW1509
    )
    try:
        code = _wait(child)
    finally:
        stop_descendants()
        shutil.rmtree(scratch, ignore_errors=True)
    if code == 0:
        _point_latest(home)
    return code


def _wait(child: subprocess.Popen[bytes]) -> int:
    try:
        return child.wait()
    except KeyboardInterrupt:
        # A terminal sends Ctrl-C to the child as well; an interrupt from elsewhere reaches only this process.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            child.send_signal(signal.SIGINT)
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        finally:
            signal.signal(signal.SIGINT, previous)
        print_error("interrupted; everything that was started has been stopped")
        return INTERRUPTED


def _new_home(folder: Path, now: datetime) -> Path:
    home = folder / now.strftime("%Y%m%dT%H%M%SZ")
    number = 0
    while home.exists():
        number += 1
        home = home.with_name(f"{home.name.split('.')[0]}.{number}")
    home.mkdir(parents=True)
    return home


def _point_latest(home: Path) -> None:
    link = home.parent / "latest"
    fresh = home.parent / f".latest-{os.getpid()}"
    fresh.symlink_to(home.name)
    fresh.replace(link)
