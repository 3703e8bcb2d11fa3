"""Asking several servers as if they were one: deadlines, retries, a second question where one hangs.

Inference changes nothing on the server, so a question may be asked again, and of two servers at once:
the first answer counts. (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013: hedged requests, and
only as many as do not become a load of their own.)

Here it is decided what to do, step by step; `serving/client/drivers.py` does it, by blocking or on an event
loop.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, NoReturn

from alphaloop.clock import monotonic
from alphaloop.errors import InputError, ServingError, TlsError
from serving.client.channel import Credentials
from serving.client.grpc_errors import is_doubtful, is_lost, is_overdue, is_unknown, pushback
from serving.client.replica import Metadata, Security, Server
from serving.protocol.status import MOST_TOLD, shortened
from serving.security.reloadable_file import SecretFile

MOST_CREDIT = 10.0
LEAST_SECONDS = 1e-3
# A server, and what gRPC said of it (a `grpc.RpcError`).
Failure = tuple[Server, Any]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for, and how often a question is asked again.

    A question without an answer for `hedge_ms` (0: however long) is asked again, of two servers at once;
    but only one in `hedge_every`, so that a slow cluster is not asked twice as much. A way that fails, or
    a server that is overloaded and says when to come back, is asked up to `attempts` times in all, after
    `pause_ms` that doubles.
    """

    hedge_ms: float = 200.0
    hedge_every: int = 10
    attempts: int = 5
    pause_ms: float = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """Have `servers` answer within `seconds`; the first answer counts. One that is at it already goes on.

    With a `limit`, None is to be said where nothing is heard for so many seconds.
    """

    servers: tuple[Server, ...]
    seconds: float
    limit: float | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Ask nobody for `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Shake:
    """Find out within `seconds` whether it is TLS for which gRPC said `error` of the server at `url`.

    The answer is what is amiss, None for nothing.
    """

    url: str
    security: Security
    error: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said: the `answer` of the server `by`, and the failures before; `by` is None without one."""

    answer: Any
    by: Server | None
    failures: Sequence[Failure] = ()


Steps = Generator[Ask | Pause | Shake, Heard | None, Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was held against a server last, and whether that was a disagreement on TLS."""

    told: str
    tls: bool = False


class Asking:
    """Decides which of `servers` is asked, and when again, each in its turn. Thread-safe.

    They are asked with `security`; `credentials` and `bearer` are what it has now.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        patience: Patience,
        security: Security,
        credentials: SecretFile[Credentials] | None = None,
        bearer: SecretFile[Metadata] | None = None,
    ) -> None:
        self.servers, self._patience, self._security = tuple(servers), patience, security
        self._credentials, self._bearer, self._fault = credentials, bearer, Fault("")
        self._turn, self._credit, self._closed = 0, 1.0, False
        self._lock = Lock()

    @classmethod
    def at(
        cls, url: str | Sequence[str], security: Security, patience: Patience, *, asynchronous: bool = False
    ) -> Asking:
        """Asking the servers at `url`, `host:port` between commas or in a sequence.

        Raises `SettingsError` for files of `security` that cannot be used.
        """
        urls = [one.strip() for one in (url.split(",") if isinstance(url, str) else url)]
        if not urls or not all(urls):
            raise InputError(f"the client's url is {url!r}; give host:port, several separated by commas")
        credentials, bearer = security.credentials(), security.bearer(urls)
        servers = [Server(one, credentials, bearer, asynchronous) for one in urls]
        return cls(servers, patience, security, credentials, bearer)

    @property
    def url(self) -> str:
        """The servers, joined by commas."""
        return ",".join(server.url for server in self.servers)

    def close(self) -> None:
        """Let nothing be asked from now on; the connections are closed by who waits."""
        self._closed = True

    def require_open(self) -> None:
        """Raise `ServingError` once closed."""
        if self._closed:
            raise ServingError(f"{self.url} gave no prediction: the client is closed")

    def steps(self, deadline_ms: float) -> Steps:
        """What to do for one question, told what came of each step; returns the answer.

        Raises `ServingError` with what the last server said, and `TlsError` where one that was asked is there
        and does not agree with the client on TLS.
        """
        if not deadline_ms > 0:
            # gRPC takes a deadline of 0 for none.
            raise ValueError(f"deadline_ms is {deadline_ms}; a request needs a positive time")
        began = monotonic()
        until = began + deadline_ms / 1e3
        self._earn()
        pause, failures = self._patience.pause_ms / 1e3, list[Failure]()
        for attempt in count(1):
            self.require_open()
            server = self._next()
            if server is None:
                break
            heard = yield from self._once(server, until, hedge=attempt == 1)
            if heard.by is not None:
                return heard.answer
            failures += heard.failures
            _, error = failures[-1]
            if self._renewed(error, began):
                began = monotonic()
                continue
            wait = pushback(error)
            final = wait is None and not is_lost(error)
            if wait is None:
                # Another server can be asked at once.
                wait = 0.0 if attempt == 1 and len(self.servers) > 1 else pause
                pause *= 2
            if final or attempt >= self._patience.attempts or monotonic() + wait >= until:
                break
            yield Pause(wait)
        self.require_open()
        return (yield from self._end(failures, until))

    def _end(self, failures: Sequence[Failure], until: float) -> Generator[Shake, Heard | None, NoReturn]:
        """Raise what the last server said; of TLS where the way to one failed that may be there.

        Who was left alone was not asked, and then the last failure of before is said.
        """
        if not failures:
            kind = TlsError if self._fault.tls else ServingError
            raise kind(f"{self.url} gave no prediction: all are left alone for a while; {self._fault.told}")
        server, error = failures[-1]
        doubted = next((one for one in reversed(failures) if is_doubtful(one[1])), None)
        left = until - monotonic()
        if doubted is not None and is_lost(error) and left > 0:
            url, said = doubted[0].url, doubted[1]
            heard = yield Shake(url, self._security, said, left)
            if heard is not None and heard.answer is not None:
                self._fault = Fault(f"{url} {heard.answer}", tls=True)
                raise TlsError(self._fault.told) from said
        raise ServingError(f"{server.url} gave no prediction: {error.code()}: {error.details()}") from error

    def _once(self, server: Server, until: float, hedge: bool) -> Generator[Ask, Heard | None, Heard]:
        """One question, and where its answer is late and there is credit, a second one to another server."""
        limit: float | None = self._patience.hedge_ms / 1e3
        if not (hedge and limit and limit < until - monotonic() and self._credit >= 1):
            limit = None
        servers: tuple[Server, ...] = (server,)
        while True:
            heard = yield Ask(servers, max(until - monotonic(), LEAST_SECONDS), limit)
            if heard is not None:
                return self._judged(heard)
            self._hold(server, f"gave no answer within {self._patience.hedge_ms:g} ms")
            if self._spend():
                servers = (server, self._next() or server)
            limit = None

    def _next(self) -> Server | None:
        """The next server in turn that is not left alone; None where all are."""
        for _ in self.servers:
            with self._lock:
                server = self.servers[self._turn % len(self.servers)]
                self._turn += 1
            if server.breaker.allows():
                return server
        return None

    def _renewed(self, error: Any, since: float) -> bool:
        """Whether what may have led to `error` is another than that of a question that began at `since`.

        It is the token of who is not known, and the certificates of who cannot connect.
        """
        shown = self._bearer if is_unknown(error) else self._credentials if is_lost(error) else None
        if shown is None:
            return False
        shown.look()
        return shown.changed >= since

    def _earn(self) -> None:
        with self._lock:
            self._credit = min(self._credit + 1 / self._patience.hedge_every, MOST_CREDIT)

    def _spend(self) -> bool:
        with self._lock:
            enough = self._credit >= 1
            self._credit -= 1 if enough else 0
        return enough

    def _judged(self, heard: Heard) -> Heard:
        """A way that fails, or no answer in time, speaks against a server; an answer that says no does not.

        Gives back what was heard.
        """
        for server, error in heard.failures:
            if is_lost(error) or is_overdue(error):
                self._hold(server, f"failed with {error.code()}: {error.details()}")
            else:
                server.breaker.succeeded()
        if heard.by is not None:
            heard.by.breaker.succeeded()
        return heard

    def _hold(self, server: Server, told: str) -> None:
        """Hold a failure against a server."""
        self._fault = Fault(shortened(f"{server.url} {told}", MOST_TOLD))
        server.breaker.failed()
