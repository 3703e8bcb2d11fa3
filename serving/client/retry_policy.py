"""Retry policy over several replicas: deadlines, retries and hedged requests.

Inference changes nothing on the server, so a request may be repeated, and may run on two servers at once:
the first answer counts.

This module decides step by step and does no I/O; `serving/client/drivers.py` carries the steps out, blocking
or on an event loop.

References
----------
J. Dean, L. A. Barroso, "The Tail at Scale", CACM 56(2), 2013: hedged requests, limited in number so that
they do not become a load of their own.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, NoReturn

from alphaloop.clock import monotonic
from alphaloop.errors import InputError, ServingError, TlsError
from alphaloop.runtime.circuit_breaker import BreakerState
from serving.client.channel import Credentials
from serving.client.grpc_errors import (
    is_connection_error,
    is_deadline_exceeded,
    is_unauthenticated,
    may_be_tls_mismatch,
    pushback_seconds,
)
from serving.client.replica import CallMetadata, ClientSecurity, Replica
from serving.protocol.status import MAX_REASON_LENGTH, shorten
from serving.security.reloadable_file import ReloadableFile

MAX_HEDGE_CREDIT = 10.0
MIN_SECONDS = 1e-3
# A server and its `grpc.RpcError`.
FailedCall = tuple[Replica, Any]


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """Limits of retries and hedged requests.

    Parameters
    ----------
    hedge_ms : float
        Milliseconds without an answer after which a second server gets the request; 0 turns hedging off.
    hedge_every : int
        One request in this many may be hedged, so that a slow cluster does not get twice the load.
    attempts : int
        Attempts in all, where a connection fails, or an overloaded server says when to come back.
    pause_ms : float
        Milliseconds before the second retry; doubles with each further one.

    Examples
    --------
    >>> RetrySettings(attempts=1).hedge_ms
    200.0
    """

    hedge_ms: float = 200.0
    hedge_every: int = 10
    attempts: int = 5
    pause_ms: float = 5.0


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send the request to `servers`; requests in flight continue, the first answer counts.

    `seconds` is the time left. If `limit` seconds pass without an answer, resume with `None`.
    """

    servers: tuple[Replica, ...]
    seconds: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Step: send nothing for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DiagnoseTls:
    """Step: find out within `seconds` if TLS caused gRPC's `error` for the server at `url`.

    Resume with an explanation as the answer, or with None as the answer if TLS is fine.
    """

    url: str
    security: ClientSecurity
    error: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """Outcome of a step: the `answer` of server `server`, and the failures before it.

    `server` is None if no server answered.
    """

    answer: Any
    server: Replica | None
    failures: Sequence[FailedCall] = ()


RetrySteps = Generator[Send | Pause | DiagnoseTls, CallOutcome | None, Any]


@dataclass(frozen=True, slots=True)
class LastFailure:
    """Last failure counted against a server; `tls` marks a disagreement on TLS."""

    reason: str
    tls: bool = False


class ReplicaPool:
    """Pool of replicas: chooses the server of each request and decides on retries. Thread-safe.

    `credentials` and `bearer` are the reloadable files of `security`.
    """

    def __init__(
        self,
        servers: Sequence[Replica],
        retries: RetrySettings,
        security: ClientSecurity,
        credentials: ReloadableFile[Credentials] | None = None,
        bearer: ReloadableFile[CallMetadata] | None = None,
    ) -> None:
        self.servers, self._retries, self._security = tuple(servers), retries, security
        self._credentials, self._bearer, self._last_failure = credentials, bearer, LastFailure("")
        self._turn, self._credit, self._closed = 0, 1.0, False
        self._lock = Lock()

    @classmethod
    def from_urls(
        cls,
        url: str | Sequence[str],
        security: ClientSecurity,
        retries: RetrySettings,
        *,
        asynchronous: bool = False,
    ) -> ReplicaPool:
        """Build the pool of the servers at `url`.

        Parameters
        ----------
        url : str or sequence of str
            `host:port` of each server; in one text, separated by commas.
        security : ClientSecurity
            TLS files and access token.
        retries : RetrySettings
            Retries and hedged requests.
        asynchronous : bool
            Build channels for the running event loop.

        Raises
        ------
        InputError
            If `url` is empty or has an empty part.
        SettingsError
            If a file of `security` cannot be used.
        """
        urls = [address.strip() for address in (url.split(",") if isinstance(url, str) else url)]
        if not urls or not all(urls):
            raise InputError(f"the client's url is {url!r}; give host:port, several separated by commas")
        credentials, bearer = security.credentials(), security.bearer(urls)
        servers = [Replica(address, credentials, bearer, asynchronous) for address in urls]
        return cls(servers, retries, security, credentials, bearer)

    @property
    def url(self) -> str:
        """Urls of the servers, joined by commas."""
        return ",".join(server.url for server in self.servers)

    def close(self) -> None:
        """Refuse further requests; whoever drives the steps closes the connections."""
        self._closed = True

    def require_open(self) -> None:
        """Raise `ServingError` if the client is closed."""
        if self._closed:
            raise ServingError(f"{self.url} gave no prediction: the client is closed")

    def steps(self, deadline_ms: float) -> RetrySteps:
        """Yield the steps of one request, each resumed with its outcome; return the answer.

        Raises
        ------
        ServingError
            With the error of the last server.
        TlsError
            If a server that can be reached does not agree with the client on TLS.
        ValueError
            If `deadline_ms` is not positive.
        """
        if not deadline_ms > 0:
            # gRPC takes a deadline of 0 for no deadline.
            raise ValueError(f"deadline_ms is {deadline_ms}; a request needs a positive time")
        began = monotonic()
        until = began + deadline_ms / 1e3
        self._earn_credit()
        pause, failures = self._retries.pause_ms / 1e3, list[FailedCall]()
        for attempt in count(1):
            self.require_open()
            server = self._next_server()
            if server is None:
                break
            outcome = yield from self._attempt(server, until, hedge=attempt == 1)
            if outcome.server is not None:
                return outcome.answer
            failures += outcome.failures
            _, error = failures[-1]
            if self._credentials_changed(error, began):
                began = monotonic()
                continue
            wait = pushback_seconds(error)
            final = wait is None and not is_connection_error(error)
            if wait is None:
                # The first retry goes to another server, which needs no pause.
                wait = 0.0 if attempt == 1 and len(self.servers) > 1 else pause
                pause *= 2
            if final or attempt >= self._retries.attempts or monotonic() + wait >= until:
                break
            yield Pause(wait)
        self.require_open()
        return (yield from self._raise_failure(failures, until))

    def _raise_failure(
        self, failures: Sequence[FailedCall], until: float
    ) -> Generator[DiagnoseTls, CallOutcome | None, NoReturn]:
        """Raise the last server's error, or `TlsError` if TLS broke a connection.

        If every breaker was open, no server was asked, and the last earlier failure is raised.
        """
        if not failures:
            kind = TlsError if self._last_failure.tls else ServingError
            raise kind(
                f"{self.url} gave no prediction: all are left alone for a while; {self._last_failure.reason}"
            )
        server, error = failures[-1]
        suspect = next((failure for failure in reversed(failures) if may_be_tls_mismatch(failure[1])), None)
        seconds_left = until - monotonic()
        if suspect is not None and is_connection_error(error) and seconds_left > 0:
            url, first_error = suspect[0].url, suspect[1]
            outcome = yield DiagnoseTls(url, self._security, first_error, seconds_left)
            if outcome is not None and outcome.answer is not None:
                self._last_failure = LastFailure(f"{url} {outcome.answer}", tls=True)
                raise TlsError(self._last_failure.reason) from first_error
        raise ServingError(f"{server.url} gave no prediction: {error.code()}: {error.details()}") from error

    def _attempt(
        self, server: Replica, until: float, hedge: bool
    ) -> Generator[Send, CallOutcome | None, CallOutcome]:
        """Make one attempt, hedged on another server if it is late.

        Hedging needs credit, of which each request earns a part, and a second server: the one that is late
        would only be asked twice.
        """
        limit: float | None = self._retries.hedge_ms / 1e3
        may_hedge = hedge and self._credit >= 1 and self._may_ask_another(server)
        if not (may_hedge and limit and limit < until - monotonic()):
            limit = None
        servers: tuple[Replica, ...] = (server,)
        while True:
            outcome = yield Send(servers, max(until - monotonic(), MIN_SECONDS), limit)
            if outcome is not None:
                return self._record(outcome)
            self._count_failure(server, f"gave no answer within {self._retries.hedge_ms:g} ms")
            other = self._next_server(beside=server)
            if other is not None and self._spend_credit():
                servers = (server, other)
            limit = None

    def _next_server(self, beside: Replica | None = None) -> Replica | None:
        """Return the next server with a closed breaker, other than `beside`; None if there is none."""
        for _ in self.servers:
            with self._lock:
                server = self.servers[self._turn % len(self.servers)]
                self._turn += 1
            if server is not beside and server.breaker.allows():
                return server
        return None

    def _may_ask_another(self, server: Replica) -> bool:
        """Test whether a server other than `server` may be asked."""
        others = (one for one in self.servers if one is not server)
        return any(one.breaker.state is not BreakerState.OPEN for one in others)

    def _credentials_changed(self, error: Any, since: float) -> bool:
        """Return whether the credentials behind `error` changed after an attempt that began at `since`.

        That is the token for a refused token, and the certificates for a failed connection.
        """
        file = (
            self._bearer
            if is_unauthenticated(error)
            else self._credentials
            if is_connection_error(error)
            else None
        )
        if file is None:
            return False
        file.reload_if_replaced()
        return file.changed_at >= since

    def _earn_credit(self) -> None:
        with self._lock:
            self._credit = min(self._credit + 1 / self._retries.hedge_every, MAX_HEDGE_CREDIT)

    def _spend_credit(self) -> bool:
        with self._lock:
            enough = self._credit >= 1
            self._credit -= 1 if enough else 0
        return enough

    def _record(self, outcome: CallOutcome) -> CallOutcome:
        """Count connection failures and missed deadlines against their servers, and return `heard`.

        An error that a server answered with is no failure of that server.
        """
        for server, error in outcome.failures:
            if is_connection_error(error) or is_deadline_exceeded(error):
                self._count_failure(server, f"failed with {error.code()}: {error.details()}")
            else:
                server.breaker.succeeded()
        if outcome.server is not None:
            outcome.server.breaker.succeeded()
        return outcome

    def _count_failure(self, server: Replica, reason: str) -> None:
        """Count a failure against a server."""
        self._last_failure = LastFailure(shorten(f"{server.url} {reason}", MAX_REASON_LENGTH))
        server.breaker.failed()
