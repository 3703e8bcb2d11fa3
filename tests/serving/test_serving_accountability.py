"""A server that lets deadlines pass is held to account: it is left alone, and others are asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from alphaloop.errors import ServingError
from alphaloop.runtime.circuit_breaker import BreakerState, CircuitBreaker
from serving.client.replica import ClientSecurity
from serving.client.retry_policy import CallOutcome, ReplicaPool, RetrySettings, Send

FAILURES = 3


def servers_at(*urls: str) -> list[Any]:
    """Servers that nothing is sent to, each with a breaker that opens after three failures."""
    return [SimpleNamespace(url=url, breaker=CircuitBreaker(FAILURES, 60.0, 60.0)) for url in urls]


class SaidError(Exception):
    """What gRPC says of a call that failed."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def code(self) -> Any:
        return SimpleNamespace(name=self.name)

    def details(self) -> str:
        return "told by the server"

    def trailing_metadata(self) -> tuple[()]:
        return ()


def put(asking: ReplicaPool, said: str) -> list[str]:
    """Put a question of which every server that is asked says `said`; who was asked."""
    steps, asked = asking.steps(1_000.0), []
    heard = None
    with pytest.raises(ServingError):
        while True:
            step = steps.send(heard)
            assert isinstance(step, Send)
            asked += [server.url for server in step.servers]
            heard = CallOutcome(None, None, [(server, SaidError(said)) for server in step.servers])
    return asked


def test_a_server_that_lets_deadlines_pass_is_left_alone() -> None:
    """After three questions without an answer in time its breaker is open, and it is not asked any more."""
    (server,) = servers_at("one:8001")
    asking = ReplicaPool([server], RetrySettings(hedge_ms=0.0), ClientSecurity())
    for _ in range(FAILURES):
        assert server.breaker.state is BreakerState.CLOSED
        assert put(asking, "DEADLINE_EXCEEDED") == ["one:8001"]
    assert server.breaker.state is BreakerState.OPEN
    assert put(asking, "DEADLINE_EXCEEDED") == []


def test_the_other_server_is_asked_instead() -> None:
    """Of two servers the one that answers late is passed over once it was held to account."""
    late, prompt = servers_at("late:8001", "prompt:8001")
    asking = ReplicaPool([late, prompt], RetrySettings(hedge_ms=0.0), ClientSecurity())
    for _ in range(FAILURES):
        late.breaker.failed()
    for _ in range(2):
        step = next(asking.steps(1_000.0))
        assert isinstance(step, Send) and step.servers == (prompt,)


@pytest.mark.parametrize("said", ["INVALID_ARGUMENT", "NOT_FOUND"])
def test_an_answer_that_says_no_is_not_held_against_a_server(said: str) -> None:
    """Who refuses a question does answer it."""
    (server,) = servers_at("one:8001")
    asking = ReplicaPool([server], RetrySettings(hedge_ms=0.0), ClientSecurity())
    for _ in range(FAILURES + 1):
        put(asking, said)
    assert server.breaker.state is BreakerState.CLOSED
