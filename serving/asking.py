"""Asking several servers as if they were one: deadlines, retries, a second question where one hangs.

Inference changes nothing on the server, so a question may be asked again, and of two servers at once:
the first answer counts. (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013: hedged requests, and
only as many as do not become a load of their own.)
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from alphaloop import telemetry
from alphaloop.clock import monotonic, sleep
from alphaloop.errors import ServingError
from serving.transport import OVERDUE, Server, is_lost, pushback


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is waited for, and how often a question is asked again.

    A question without an answer for `hedge_ms` is asked again, of two servers at once; but only one in
    `hedge_every`, so that a slow cluster is not asked twice as much. A way that fails, or a server that is
    overloaded and says when to come back, is asked up to `attempts` times in all, after `pause_ms` that
    doubles.
    """

    hedge_ms: float = 200.0
    hedge_every: int = 10
    attempts: int = 5
    pause_ms: float = 5.0


class Asking:
    """Puts questions to `servers`, each in its turn. Thread-safe."""

    def __init__(self, servers: Sequence[Server], patience: Patience) -> None:
        self._servers, self._patience = tuple(servers), patience
        self._turn, self._credit = 0, 1.0
        self._lock = Lock()

    def ask(self, request: Any, deadline_ms: float) -> Any:
        """The answer to a `ModelInferRequest`; raises `ServingError` with what the last server said."""
        import grpc

        if deadline_ms <= 0:
            # gRPC takes a deadline of 0 for none.
            raise ValueError(f"deadline_ms is {deadline_ms}; a request needs a positive time")
        until = monotonic() + deadline_ms / 1e3
        patience = self._patience
        self._earn()
        pause, told, first = patience.pause_ms / 1e3, "", True
        for attempt in range(1, patience.attempts + 1):
            server = self._next()
            if server is None:
                raise ServingError(f"{self._urls()} gave no prediction: {told or 'all are left alone'}")
            try:
                return self._once(server, request, until, hedge=first)
            except grpc.RpcError as error:
                told = f"{error.code()}: {error.details()}"  # type: ignore[attr-defined]
                wait = pushback(error)
                if wait is None:
                    if not is_lost(error):
                        raise ServingError(f"{server.url} gave no prediction: {told}") from error
                    # Another server can be asked at once.
                    wait = 0.0 if first and len(self._servers) > 1 else pause
                    pause *= 2
                if attempt == patience.attempts or monotonic() + wait >= until:
                    raise ServingError(f"{server.url} gave no prediction: {told}") from error
            first = False
            sleep(wait)
        raise ServingError(f"{self._urls()} gave no prediction: {told}")

    def _once(self, server: Server, request: Any, until: float, hedge: bool) -> Any:
        """One question, and where its answer is late and there is credit, a second one to two servers."""
        import grpc

        remaining = max(until - monotonic(), 1e-3)
        limit = self._patience.hedge_ms / 1e3
        cut = hedge and limit < remaining and self._credit >= 1
        try:
            answer = server.stub.ModelInfer(
                request, timeout=limit if cut else remaining, metadata=_metadata(server)
            )
        except grpc.RpcError as error:
            late = error.code().name == OVERDUE  # type: ignore[attr-defined]
            _judge(server, error)
            if not (late and cut and self._spend()):
                raise
        else:
            server.breaker.succeeded()
            return answer
        return self._first_of([server, self._next() or server], request, until)

    def _first_of(self, servers: Sequence[Server], request: Any, until: float) -> Any:
        """The first answer of `servers`, or the last failure."""
        import grpc

        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        timeout = max(until - monotonic(), 1e-3)
        calls = {}
        for server in servers:
            call = server.stub.ModelInfer.future(request, timeout=timeout, metadata=_metadata(server))
            calls[call] = server
            call.add_done_callback(done.put)
        for left in reversed(range(len(calls))):
            call = done.get()
            server = calls[call]
            try:
                answer = call.result()
            except grpc.RpcError as error:
                _judge(server, error)
                if not left:
                    raise
                continue
            server.breaker.succeeded()
            for other in calls:
                if other is not call:
                    other.cancel()
            return answer
        raise ServingError(f"{self._urls()} gave no prediction")

    def _next(self) -> Server | None:
        """The next server in turn that is not left alone; None where all are."""
        for _ in self._servers:
            with self._lock:
                server = self._servers[self._turn % len(self._servers)]
                self._turn += 1
            if server.breaker.allows():
                return server
        return None

    def _earn(self) -> None:
        with self._lock:
            self._credit = min(self._credit + 1 / self._patience.hedge_every, 10.0)

    def _spend(self) -> bool:
        with self._lock:
            enough = self._credit >= 1
            self._credit -= 1 if enough else 0
        return enough

    def _urls(self) -> str:
        return ", ".join(server.url for server in self._servers)


def _judge(server: Server, error: Any) -> None:
    """A way that fails, or no answer in time, speaks against a server; an answer that says no does not."""
    if is_lost(error) or error.code().name == OVERDUE:
        server.breaker.failed()
    else:
        server.breaker.succeeded()


def _metadata(server: Server) -> tuple[tuple[str, str], ...]:
    parent = telemetry.traceparent()
    return server.metadata if parent is None else (*server.metadata, (telemetry.TRACEPARENT, parent))
