"""Clock, rooms, ports and child processes: what every process of the loop stands on."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psutil
import pytest

import alphaloop
from alphaloop.clock import ReplayClock, SystemClock, as_utc, monotonic, sleep
from alphaloop.errors import PortInUseError, ShadowedPackageError, UnknownNameError
from alphaloop.runtime import package_roots
from alphaloop.runtime.processes import child_environment, free_port, require_port

ROOT = Path(alphaloop.__file__).parent.parent
MOMENT = datetime(2020, 3, 16, 20, tzinfo=UTC)


def _python(code: str, **given: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **given)


def test_a_replay_clock_stands_still_and_never_runs_back():
    """It tells the moment it was put at until it is moved, and refuses the past."""
    clock = ReplayClock(MOMENT)
    assert clock.now() == clock.now() == MOMENT
    clock.advance(MOMENT + timedelta(days=1))
    clock.advance(clock.now())
    assert clock.now() == MOMENT + timedelta(days=1)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance(MOMENT)


def test_times_are_aware_and_in_utc():
    """Another zone is converted, none at all is refused, and the machine's clock is in UTC."""
    assert as_utc(MOMENT.astimezone(timezone(timedelta(hours=-5)))).tzinfo is UTC
    with pytest.raises(ValueError, match="no time zone"):
        as_utc(datetime(2020, 1, 1))  # noqa: DTZ001
    assert SystemClock().now().tzinfo is UTC


def test_durations_are_measured_on_a_clock_that_only_rises():
    """Waiting takes at least as long as was asked for."""
    started = monotonic()
    sleep(0.01)
    assert monotonic() - started >= 0.009


def test_a_long_list_of_names_is_cut_and_counted():
    """An unknown name comes with the first two dozen known ones, and how many there are."""
    error = UnknownNameError("symbol", "X", [f"S{n:02d}" for n in range(30)], where="source 'a'")
    assert "unknown symbol 'X' in source 'a'; known: S00, S01" in str(error)
    assert str(error).endswith("S23, … (30 in all)")
    assert str(UnknownNameError("model", "x", [])).endswith("known: none yet")


def test_all_rooms_come_from_this_checkout():
    """In a process as it should be, the check passes."""
    package_roots.require_one_root()


@pytest.mark.parametrize("package", [True, False], ids=["package", "plain folder"])
def test_a_room_shadowed_by_the_users_folder_is_named(tmp_path, package):
    """A folder of the user's stops the process at once if, and only if, it would be imported instead."""
    (tmp_path / "trading").mkdir()
    if package:
        (tmp_path / "trading" / "__init__.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from alphaloop.runtime import package_roots as rooms; from alphaloop import errors\n"
        "try:\n    rooms.require_one_root()\n"
        "except errors.ShadowedPackageError as error:\n    print(error)\n"
        "import trading; print(list(trading.__path__)[0])"
    )
    script = tmp_path / "start.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
        env=child_environment(),
    )
    *told, imported = done.stdout.splitlines()
    # A plain folder loses against an installed package, but not against one found by an import hook.
    assert package is False or imported == str(tmp_path / "trading")
    assert bool(told) == (imported != str(ROOT / "trading"))
    for line in told:
        assert f"'trading' comes from {tmp_path / 'trading'}, which shadows" in line
        assert str(ROOT / "trading") in line


def test_a_room_already_loaded_from_elsewhere_is_named(tmp_path, monkeypatch):
    """A module that was imported under a room's name before the check is found as well."""
    stranger = type(sys)("trading")
    stranger.__file__ = str(tmp_path / "trading" / "__init__.py")
    monkeypatch.setitem(sys.modules, "trading", stranger)
    with pytest.raises(ShadowedPackageError, match="'trading'"):
        package_roots.require_one_root()


def test_a_child_does_not_import_from_its_working_folder(tmp_path):
    """With the environment given to children, a package in the working folder is not theirs."""
    (tmp_path / "trading.py").write_text("raise SystemExit('imported the wrong one')")
    done = _python("import trading; print(trading.__file__)", cwd=tmp_path, env=child_environment())
    assert done.stdout.strip() == str(ROOT / "trading" / "__init__.py")


def test_a_childs_environment_is_ours_with_what_was_added():
    """Telemetry of vendors is off, and additions win."""
    given = child_environment({"DO_NOT_TRACK": "no", "MINE": "1"})
    assert (given["DO_NOT_TRACK"], given["MINE"], given["PYTHONSAFEPATH"]) == ("no", "1", "1")
    assert given["PATH"] == os.environ["PATH"]


def test_a_port_in_use_is_named_with_its_setting():
    """A free port passes; one that is held is refused with the setting that changes it."""
    import socket

    port = free_port()
    require_port("127.0.0.1", port, "serving.grpc_port")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        with pytest.raises(PortInUseError, match=rf"port {port} .* set serving\.grpc_port"):
            require_port("127.0.0.1", port, "serving.grpc_port")


def test_a_free_port_is_no_outgoing_connections_and_given_once():
    """No connection that is opened meanwhile, and no later call, gets the port before it is listened on."""
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
    lowest_outgoing = 32_768
    assert all(20_000 <= port < lowest_outgoing for port in ports)


GRANDCHILDREN = """
import subprocess, sys
from alphaloop.runtime.processes import adopt_orphans, stop_descendants
adopt_orphans()
orphaning = (
    "import subprocess; "
    "print(subprocess.Popen(['sleep', '600'], stdout=-3, stderr=-3).pid, flush=True)"
)
stubborn = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    "print('ready', flush=True); time.sleep(600)"
)
orphan = subprocess.run([sys.executable, "-c", orphaning], capture_output=True, text=True).stdout.strip()
child = subprocess.Popen([sys.executable, "-c", stubborn], stdout=subprocess.PIPE)
child.stdout.readline()
print(orphan, child.pid, stop_descendants(grace_seconds=0.3), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="subreapers are of Linux")
def test_no_descendant_escapes():
    """An orphan whose parent is gone and a child that ignores the polite signal are both ended."""
    done = _python(GRANDCHILDREN, env=child_environment())
    orphan, child, count = map(int, done.stdout.split())
    assert count == 2, done.stderr
    assert not psutil.pid_exists(orphan)
    assert not psutil.pid_exists(child)


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's death signal is of Linux")
def test_a_child_dies_with_its_parent():
    """A child that asked for it is killed when its parent is gone."""
    code = (
        "import subprocess\n"
        "from alphaloop.runtime.processes import die_with_parent\n"
        "print(subprocess.Popen(['sleep', '600'], preexec_fn=die_with_parent, stdout=-3).pid, flush=True)\n"
    )
    child = int(_python(code, env=child_environment()).stdout)
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            break
        sleep(0.02)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
