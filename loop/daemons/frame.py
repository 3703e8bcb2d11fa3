"""The frame of a daemon: it waits for its role, turns until it is told to end, and says how it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from alphaloop.clock import monotonic
from alphaloop.errors import LeaseLostError, RoleHeldError, UnreachableStoreError, VendorError
from alphaloop.journal.roles import RoleLease
from alphaloop.journal.store import Journal
from alphaloop.telemetry.health import PartHealth, PartState
from alphaloop.telemetry.pages import make_pages, served_pages
from alphaloop.telemetry.prometheus import render_metrics
from serving.hosts.signals import Termination

log = logging.getLogger(__name__)

STANDBY_SECONDS = 1.0
"""Seconds for which a standby waits for its role before it looks whether it is to end."""


class WorkDoneError(Exception):
    """Raised by a turn that has done all that there will ever be: the process ends as on SIGTERM."""


class Daemon(Protocol):
    """One part of the loop."""

    def turn(self) -> bool:
        """Do what is due; returns True if anything was done, so that more may be."""
        ...

    def parts(self) -> list[PartHealth]:
        """Return the state of its parts, without looking at a store."""
        ...


@dataclass(frozen=True, slots=True)
class DaemonPages:
    """Where a daemon's pages are: host, port (0: nowhere), and the setting that names the port."""

    host: str = "127.0.0.1"
    port: int = 0
    setting: str = "--port"


@dataclass(slots=True, eq=False)
class DaemonState:
    """The state of a daemon, for its pages and metrics.

    Parameters
    ----------
    role : str
        Name of its role.
    hang_seconds : float
        Seconds without a turn after which it counts as hanging.
    """

    role: str
    hang_seconds: float
    daemon: Daemon | None = None
    ending: bool = False
    away: str = ""
    turns: int = 0
    turned_at: float = field(default_factory=monotonic)

    def turned(self, away: str = "") -> None:
        """Note that a turn ended; `away` says which store could not be reached."""
        self.turned_at, self.turns, self.away = monotonic(), self.turns + 1, away

    def alive(self) -> str:
        """Return why the daemon hangs; empty while it works."""
        silent = monotonic() - self.turned_at
        return f"no turn for {silent:.0f} s" if silent > self.hang_seconds else ""

    def parts(self) -> list[PartHealth]:
        """Return the state of role, stores and the daemon's own parts; a standby is ready."""
        if self.ending:
            return [PartHealth("role", PartState.DOWN, f"'{self.role}' is given back: the process ends")]
        if self.daemon is None:
            return [PartHealth("role", PartState.OK, f"standby: another process holds '{self.role}'")]
        stores = PartHealth("stores", PartState.DEGRADED, self.away) if self.away else PartHealth("stores")
        return [PartHealth("role", PartState.OK, f"'{self.role}' is held"), stores, *self.daemon.parts()]

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of the daemon."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        held = GaugeMetricFamily("alphaloop_daemon_role_held", "1 while the role is held.", labels=("role",))
        held.add_metric((self.role,), float(self.daemon is not None and not self.ending))
        yield held
        turns = CounterMetricFamily("alphaloop_daemon_turns", "Turns of the daemon.", labels=("role",))
        turns.add_metric((self.role,), self.turns)
        yield turns


def run_daemon(
    journal: Journal,
    role: str,
    make: Callable[[RoleLease], AbstractContextManager[Daemon]],
    *,
    pages: DaemonPages | None = None,
    idle_seconds: float = 1.0,
    hang_seconds: float = 60.0,
    announce: Callable[[str], None] = lambda line: None,
) -> None:
    """Run a daemon under its role until SIGTERM or Ctrl-C. Main thread only.

    A second instance waits for the role as a standby. A store that cannot be reached is tried again at the
    next turn. At the end the present turn is finished and the role given back, so that a standby takes it at
    once.

    Parameters
    ----------
    journal : Journal
        Journal of the role.
    role : str
        Name of the role.
    make : callable
        Makes the daemon once the role is held.
    pages : DaemonPages, optional
        Where `/livez`, `/readyz` and `/metrics` are; nowhere by default.
    idle_seconds : float
        Seconds between turns that found nothing to do.
    hang_seconds : float
        Seconds without a turn after which `/livez` fails.
    announce : callable
        Called with a line when the daemon begins to wait, and when it holds its role.

    Raises
    ------
    LeaseLostError
        Where another process took the role over.
    PortInUseError
        Where another process holds the port of the pages.
    """
    state = DaemonState(role, hang_seconds)
    place = pages or DaemonPages()
    application = make_pages(state.alive, state.parts, lambda: render_metrics(state))
    with (
        Termination() as termination,
        served_pages(application, place.port, place.host, place.setting),
    ):
        lease = _wait_for_role(journal, role, state, termination, announce)
        if lease is None:
            return
        with lease, make(lease) as daemon:
            state.daemon = daemon
            announce(f"role '{role}' is held")
            try:
                while not termination.requested:
                    if not _turn(daemon, lease, state):
                        termination.wait(idle_seconds)
            except WorkDoneError as done:
                announce(str(done))
            state.ending = True


def _wait_for_role(
    journal: Journal,
    role: str,
    state: DaemonState,
    termination: Termination,
    announce: Callable[[str], None],
) -> RoleLease | None:
    """Wait for the role; None where the process is to end before it has it."""
    told = ""
    while not termination.requested:
        try:
            return journal.take_role(role, wait=STANDBY_SECONDS)
        except RoleHeldError as error:
            state.turned()
            if str(error) != told:
                told = str(error)
                announce(f"standby: {told}")
        except UnreachableStoreError as error:
            state.turned(str(error))
            log.warning("%s", error)
            termination.wait(STANDBY_SECONDS)
    return None


def _turn(daemon: Daemon, lease: RoleLease, state: DaemonState) -> bool:
    """Make one turn; returns whether anything was done."""
    if lease.is_lost:
        raise LeaseLostError(f"role '{lease.role}' was taken over by another process; this one ends")
    try:
        worked = daemon.turn()
    except (VendorError, UnreachableStoreError) as error:
        # What is known stays known; the next turn tries again.
        if str(error) != state.away:
            log.warning("%s", error)
        state.turned(str(error))
        return False
    state.turned()
    return worked
