"""Roles: which process may do what only one may do, by leases that compare no clocks between machines.

A lease has a holder, a token and a heartbeat counter. Its holder counts up as long as it lives. Whoever waits
for the role takes it over, by one update on the token and the counter that it has seen, once the counter has
stood still for `lease_seconds` of its own boot-time clock. Every write of the role checks the token in its
own transaction, so that a holder that was stopped and wakes up writes nothing.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import sqlalchemy as sa

from alphaloop.clock import Clock, as_utc, boot_time, sleep
from alphaloop.errors import LeaseLostError, RoleHeldError
from alphaloop.journal.holder import is_gone, short_name, this_process
from alphaloop.journal.tables import DATABASE_ERRORS, insert_missing, roles

log = logging.getLogger(__name__)

LEASE_SECONDS = 10.0
"""Default of `journal.lease_seconds`: how long a counter stands still before a role may be taken over."""
SAFE_SHARE = 2 / 3
"""Share of the lease after which a holder without a confirmed heartbeat stops."""
HEARTBEATS = 4
"""Heartbeats in the time of one lease."""
MAX_POLL_SECONDS = 1.0


def executor_role(book: str) -> str:
    """Return the role under which the stream of a book is written."""
    return f"executor/{book}"


def control_role(model: str) -> str:
    """Return the role under which the rollout of a model is changed."""
    return f"control/{model}"


def streamer_role(source: str) -> str:
    """Return the role under which the bars of a source are stored and published."""
    return f"streamer/{source}"


RUNNER_ROLE = "runner"
"""The role of the process that runs pipelines."""


class RoleLease:
    """A role that this process holds; made by `Journal.take_role`, given back by `release`.

    Parameters
    ----------
    engine : Engine
        Database of the journal.
    role : str
        Name of the role, as `executor/trading`.
    holder : str
        Holder, as `alphaloop.journal.holder.this_process` names it.
    token : int
        Fencing token: greater than that of every holder before.
    lease_seconds : float
        Seconds without a heartbeat after which another may take the role over.
    """

    def __init__(self, engine: sa.Engine, role: str, holder: str, token: int, lease_seconds: float) -> None:
        self.role, self.holder, self.token = role, holder, token
        self._engine, self._lease_seconds = engine, lease_seconds
        self._confirmed = boot_time()
        self._lost = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"role {role}", daemon=True)
        self._thread.start()

    @property
    def is_lost(self) -> bool:
        """True once it is known that another process took the role over."""
        return self._lost

    def seconds_left(self) -> float:
        """Return for how many seconds the role is surely held; zero or less once it may have been lost."""
        if self._lost or self._ended.is_set():
            return 0.0
        return SAFE_SHARE * self._lease_seconds - (boot_time() - self._confirmed)

    def require(self, connection: sa.Connection) -> None:
        """Raise `LeaseLostError` if the role was taken over, within the caller's transaction.

        On PostgreSQL the row is held to the end of that transaction, so that nobody takes the role over
        between the check and the commit. SQLite has one writer at a time anyway.
        """
        query = sa.select(roles.c.token, roles.c.holder).where(roles.c.role == self.role)
        found = connection.execute(query.with_for_update(read=True)).one_or_none()
        if self._ended.is_set() or found is None or found.token != self.token:
            self._lost = True
            by = f" by {short_name(found.holder)}" if found is not None else ""
            raise LeaseLostError(
                f"role '{self.role}' (token {self.token}) was taken over{by}; nothing was written, and this "
                "process must stop"
            )

    def renew(self) -> None:
        """Count a heartbeat. Raises `LeaseLostError` if another process took the role over."""
        asked = boot_time()
        with self._engine.begin() as connection:
            held = connection.execute(
                roles.update()
                .where(roles.c.role == self.role, roles.c.token == self.token)
                .values(heartbeats=roles.c.heartbeats + 1)
            )
            if held.rowcount != 1:
                self.require(connection)
        self._confirmed = asked

    def release(self) -> None:
        """Give the role back, so that a standby takes it at once. Idempotent."""
        if self._ended.is_set():
            return
        self._ended.set()
        self._thread.join()
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    roles.update()
                    .where(roles.c.role == self.role, roles.c.token == self.token)
                    .values(released=True)
                )
        except DATABASE_ERRORS as error:
            # A standby then waits for the lease to run out.
            log.warning("role '%s' could not be given back: %s", self.role, error)

    def __enter__(self) -> RoleLease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _beat(self) -> None:
        while not self._ended.wait(self._lease_seconds / HEARTBEATS):
            try:
                self.renew()
            except LeaseLostError as error:
                log.error("%s", error)
                return
            except DATABASE_ERRORS as error:
                # Tried again: until the lease has run out nobody takes it over.
                log.warning("no heartbeat of role '%s': %s", self.role, error)


def take_role(
    engine: sa.Engine,
    clock: Clock,
    role: str,
    *,
    holder: str | None = None,
    wait: float | None = 0.0,
    lease_seconds: float = LEASE_SECONDS,
) -> RoleLease:
    """Take `role`, or wait for it.

    A role that nobody holds, that was given back, or whose holder is this process or one of this machine that
    has ended, is taken at once. Any other is taken over once its counter has stood still for `lease_seconds`.

    Parameters
    ----------
    engine : Engine
        Database of the journal.
    clock : Clock
        Clock of the time that the table notes.
    role : str
        Name of the role.
    holder : str, optional
        Holder, by default this process.
    wait : float or None
        Seconds to wait for a role that another process holds; None waits for ever.
    lease_seconds : float
        Seconds without a heartbeat after which the role is taken over.

    Returns
    -------
    RoleLease

    Raises
    ------
    RoleHeldError
        Where another process held the role to the end of `wait`.
    """
    own, began = holder or this_process(), boot_time()
    seen: tuple[int, int] | None = None
    seen_at = began
    while True:
        found = _read_or_make(engine, clock, role, own)
        if found.token == 0:
            free = True
        else:
            free = bool(found.released) or found.holder == own or is_gone(found.holder)
        if (found.token, found.heartbeats) != seen:
            seen, seen_at = (found.token, found.heartbeats), boot_time()
        if free or boot_time() - seen_at >= lease_seconds:
            token = _take_over(engine, clock, role, own, seen)
            if token is not None:
                return RoleLease(engine, role, own, token, lease_seconds)
        waited = boot_time() - began
        if wait is not None and waited >= wait:
            raise RoleHeldError(
                f"role '{role}' is held by {short_name(found.holder)}; end that process, or wait: the role "
                f"is free {lease_seconds:g} s after its last sign of life"
            )
        left = MAX_POLL_SECONDS if wait is None else min(MAX_POLL_SECONDS, wait - waited)
        sleep(min(left, lease_seconds / HEARTBEATS))


def held_elsewhere(connection: sa.Connection, role: str) -> str | None:
    """Return `host:pid` of another process that holds `role`; None if it is free, or ours."""
    found = connection.execute(sa.select(roles).where(roles.c.role == role)).one_or_none()
    if found is None or found.released or found.holder == this_process() or is_gone(found.holder):
        return None
    return short_name(found.holder)


def _read_or_make(engine: sa.Engine, clock: Clock, role: str, holder: str) -> Any:
    at = as_utc(clock.now()).isoformat()
    row = {"role": role, "holder": holder, "token": 0, "heartbeats": 0, "released": True, "taken_at": at}
    query = sa.select(roles).where(roles.c.role == role)
    with engine.connect() as connection:
        found = connection.execute(query).one_or_none()
    if found is None:
        with engine.begin() as connection:
            insert_missing(connection, roles, row)
            found = connection.execute(query).one()
    return found


def _take_over(engine: sa.Engine, clock: Clock, role: str, holder: str, seen: tuple[int, int]) -> int | None:
    """Take the role as it was seen; returns the new token, or None if it has changed since."""
    token, heartbeats = seen
    as_seen = (roles.c.role == role, roles.c.token == token, roles.c.heartbeats == heartbeats)
    with engine.begin() as connection:
        taken = connection.execute(
            roles.update()
            .where(*as_seen)
            .values(
                holder=holder,
                token=token + 1,
                heartbeats=0,
                released=False,
                taken_at=as_utc(clock.now()).isoformat(),
            )
        )
        return token + 1 if taken.rowcount == 1 else None
