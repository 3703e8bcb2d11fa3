"""The frame of a daemon: its role, its standby, its pages and its end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from alphaloop.clock import ReplayClock, monotonic, sleep
from alphaloop.errors import LeaseLostError, PortInUseError, VendorError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.runtime.processes import free_port
from alphaloop.telemetry.health import PartHealth, PartState
from loop.daemons.frame import DaemonPages, DaemonState, run_daemon

ELSEWHERE = "another-host:7#1.2"


class Counter:
    """A daemon that counts its turns, and does in each what a test wants."""

    def __init__(self, on_turn: Callable[[int], bool]) -> None:
        self.turns, self._on_turn = 0, on_turn

    def turn(self) -> bool:
        """Count."""
        self.turns += 1
        return self._on_turn(self.turns)

    def parts(self) -> list[PartHealth]:
        """One part, which is well."""
        return [PartHealth("counter")]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    clock = ReplayClock(datetime(2020, 3, 16, tzinfo=UTC))
    with Journal(tmp_path / "j.db", tmp_path / "a.jsonl", clock, lease_seconds=1.0) as opened:
        yield opened


def making(daemon: Counter) -> Any:
    """A function that makes `daemon`, whatever its role."""

    @contextmanager
    def make(role: RoleLease) -> Iterator[Counter]:
        yield daemon

    return make


def end_process() -> None:
    """SIGTERM, as a supervisor sends it."""
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_terminated_daemon_finishes_its_turn_and_gives_its_role_back(journal: Journal) -> None:
    """The signal comes in the middle of a turn; the turn ends, and a standby takes the role at once."""
    done: list[str] = []

    def turn(number: int) -> bool:
        end_process()
        sleep(0.05)
        done.append("finished")
        return True

    run_daemon(journal, "runner", making(Counter(turn)))
    assert done == ["finished"]
    journal.take_role("runner", holder=ELSEWHERE).release()


def test_a_standby_is_ready_and_takes_over(journal: Journal) -> None:
    """It waits while another holds the role, says so on its page, and works once the role is free."""
    role, port = journal.take_role("runner", holder=ELSEWHERE), free_port()
    pages: list[Any] = []
    said: list[str] = []

    def look_and_release() -> None:
        began = monotonic()
        while not said and monotonic() - began < 10:
            sleep(0.02)
        pages.append(httpx.get(f"http://127.0.0.1:{port}/readyz"))
        role.release()

    thread = threading.Thread(target=look_and_release)
    thread.start()
    daemon = Counter(lambda number: end_process() or True)
    run_daemon(journal, "runner", making(daemon), pages=DaemonPages(port=port), announce=said.append)
    thread.join()
    (page,) = pages
    assert page.status_code == 200
    assert page.json()["parts"]["role"]["reason"] == "standby: another process holds 'runner'"
    assert daemon.turns == 1
    assert said[0].startswith("standby: role 'runner' is held by another-host:7")


def test_a_daemon_whose_role_is_taken_ends_with_an_error(journal: Journal) -> None:
    """It makes no turn under a role that another process has."""

    def turn(number: int) -> bool:
        if number == 1:
            journal.take_role("runner", wait=0)
        sleep(0.3)
        return True

    daemon = Counter(turn)
    with pytest.raises(LeaseLostError, match="role 'runner'"):
        run_daemon(journal, "runner", making(daemon))
    assert daemon.turns <= 3


def test_a_store_that_is_away_is_told_on_the_page_and_tried_again(journal: Journal) -> None:
    """The daemon stays ready, degraded, and works once the store is back."""
    port, seen = free_port(), []

    def turn(number: int) -> bool:
        if number == 1:
            raise VendorError("the journal does not answer")
        seen.append(httpx.get(f"http://127.0.0.1:{port}/readyz"))
        end_process()
        return True

    run_daemon(journal, "runner", making(Counter(turn)), pages=DaemonPages(port=port), idle_seconds=0.01)
    (page,) = seen
    assert (page.status_code, page.json()["state"]) == (200, "degraded")
    assert page.json()["parts"]["stores"]["reason"] == "the journal does not answer"


def test_the_pages_say_what_a_supervisor_asks(journal: Journal) -> None:
    """Alive, the metrics of role and turns, and a list of the pages for any other path."""
    port, seen = free_port(), {}

    def turn(number: int) -> bool:
        for path in ("/livez", "/metrics", "/elsewhere"):
            seen[path] = httpx.get(f"http://127.0.0.1:{port}{path}")
        end_process()
        return True

    run_daemon(journal, "runner", making(Counter(turn)), pages=DaemonPages(port=port))
    assert (seen["/livez"].status_code, seen["/livez"].text) == (200, "ok\n")
    assert 'alphaloop_daemon_role_held{role="runner"} 1.0' in seen["/metrics"].text
    assert (seen["/elsewhere"].status_code, "/readyz" in seen["/elsewhere"].text) == (404, True)


def test_a_daemon_that_hangs_is_not_alive() -> None:
    """Without a turn for longer than it may take, the page says for how long."""
    state = DaemonState("runner", hang_seconds=5.0)
    assert state.alive() == ""
    state.turned_at -= 6.0
    assert state.alive().startswith("no turn for 6")


def test_a_daemon_that_ends_is_not_ready() -> None:
    """Another instance can do the work."""
    state = DaemonState("runner", hang_seconds=5.0, ending=True)
    assert [one.state for one in state.parts()] == [PartState.DOWN]


def test_a_port_in_use_is_refused_before_the_role_is_taken(journal: Journal) -> None:
    """One line names the port, and the role stays free."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortInUseError, match=f"port {port} on 127.0.0.1 is in use; .*--port"):
            run_daemon(journal, "runner", making(Counter(lambda number: True)), pages=DaemonPages(port=port))
    assert journal.holder_of("runner") is None
