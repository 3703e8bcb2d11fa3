"""The circuit breaker: closed, open, half-open, as a plain model of it says."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from alphaloop.errors import InputError
from alphaloop.runtime.circuit_breaker import BreakerState, CircuitBreaker

FAILURES, WINDOW, COOLDOWN = 3, 10.0, 5.0


class BreakerModel(RuleBasedStateMachine):
    """The breaker beside a model that keeps every event and works its state out anew."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.breaker = CircuitBreaker(FAILURES, WINDOW, COOLDOWN, elapsed=lambda: self.now)
        self.failures: list[float] = []
        self.opened: float | None = None
        self.trial: float | None = None

    def state(self) -> BreakerState:
        if self.opened is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if self.now >= self.opened + COOLDOWN else BreakerState.OPEN

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0, 5.0, 9.5, 10.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def a_call_is_asked_for(self) -> None:
        state = self.state()
        free = self.trial is None or self.now >= self.trial + COOLDOWN
        expected = state is BreakerState.CLOSED or (state is BreakerState.HALF_OPEN and free)
        assert self.breaker.allows() == expected
        if expected and state is BreakerState.HALF_OPEN:
            self.trial = self.now

    @rule()
    def a_call_succeeds(self) -> None:
        self.breaker.succeeded()
        self.failures, self.opened, self.trial = [], None, None

    @rule()
    def a_call_fails(self) -> None:
        state = self.state()
        self.breaker.failed()
        if state is BreakerState.OPEN:
            return
        self.failures = [at for at in [*self.failures, self.now] if at > self.now - WINDOW]
        if state is BreakerState.HALF_OPEN or len(self.failures) >= FAILURES:
            self.failures, self.opened, self.trial = [], self.now, None

    @invariant()
    def they_agree(self) -> None:
        assert self.breaker.state is self.state()


TestBreakerModel = BreakerModel.TestCase
TestBreakerModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_an_open_breaker_lets_one_call_through_after_its_cooldown() -> None:
    """Three failures open it; after the cooldown one trial passes, and its failure opens it again."""
    now = [0.0]
    breaker = CircuitBreaker(FAILURES, WINDOW, COOLDOWN, elapsed=lambda: now[0])
    for _ in range(FAILURES):
        assert breaker.allows()
        breaker.failed()
    assert not breaker.allows()
    now[0] = COOLDOWN
    assert [breaker.allows(), breaker.allows()] == [True, False]
    breaker.failed()
    assert breaker.state is BreakerState.OPEN
    now[0] = 2 * COOLDOWN
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state is BreakerState.CLOSED


def test_failures_far_apart_open_nothing() -> None:
    """Failures count only within the window, so a rare one now and then is no outage."""
    now = [0.0]
    breaker = CircuitBreaker(FAILURES, WINDOW, COOLDOWN, elapsed=lambda: now[0])
    for _ in range(20):
        breaker.failed()
        now[0] += WINDOW / 2
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("given", [(0, 1.0, 1.0), (1, 0.0, 1.0), (1, 1.0, -1.0), (1, float("nan"), 1.0)])
def test_a_breaker_of_impossible_numbers_is_refused(given: tuple[int, float, float]) -> None:
    """No failures, or no seconds, make no breaker."""
    with pytest.raises(InputError, match="a breaker needs"):
        CircuitBreaker(*given)
