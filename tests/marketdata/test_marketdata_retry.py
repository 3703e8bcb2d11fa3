"""Trying again: how often, how long between, and when to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from alphaloop.errors import InputError
from marketdata.connectors.retry import GaveUpError, RetryPolicy


class BusyError(Exception):
    """A vendor asks to come back, in so many seconds if it says so."""

    def __init__(self, wait: float | None = None) -> None:
        super().__init__("busy")
        self.wait = wait


class Timer:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.time = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.time += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)

    def monotonic(self) -> float:
        return self.time


@pytest.fixture
def timer() -> Timer:
    """Time that stands still until somebody sleeps."""
    return Timer()


def policy(timer: Timer, **changes: Any) -> RetryPolicy:
    settings: dict[str, Any] = {
        "on": (BusyError, ConnectionError),
        "random": Random(7),
        "sleep": timer.sleep,
        "async_sleep": timer.async_sleep,
        "monotonic": timer.monotonic,
    }
    return RetryPolicy(**settings | changes)


def failing(*errors: Exception) -> Callable[[], str]:
    """Fails with each error in turn, then answers."""
    left: Iterator[Exception] = iter(errors)

    def function() -> str:
        for error in left:
            raise error
        return "answer"

    return function


def run(retry: RetryPolicy, function: Callable[[], str], awaited: bool) -> str:
    if not awaited:
        return retry.call(function, "bars of X")

    async def asynchronous() -> str:
        return function()

    return asyncio.run(retry.acall(asynchronous, "bars of X"))


@pytest.mark.parametrize("awaited", [False, True])
def test_named_errors_are_tried_again_with_growing_jittered_waits(timer: Timer, awaited: bool) -> None:
    """Four failures cost four waits, each below its doubling bound and not the same in every process."""
    errors = (BusyError(), ConnectionError(), BusyError(), BusyError())
    assert run(policy(timer, base=1.0, cap=5.0), failing(*errors), awaited) == "answer"
    assert all(0 <= wait <= bound for wait, bound in zip(timer.waits, (1, 2, 4, 5), strict=True))
    again = Timer()
    run(policy(again, base=1.0, cap=5.0), failing(*errors), awaited)
    assert again.waits == timer.waits
    other = Timer()
    run(policy(other, base=1.0, cap=5.0, random=Random(8)), failing(*errors), awaited)
    assert other.waits != timer.waits


@pytest.mark.parametrize("awaited", [False, True])
def test_other_errors_pass_at_once(timer: Timer, awaited: bool) -> None:
    """An error that is not named is not tried again."""
    with pytest.raises(KeyError):
        run(policy(timer), failing(KeyError("x")), awaited)
    assert timer.waits == []


@pytest.mark.parametrize("awaited", [False, True])
def test_the_last_error_is_named_when_all_attempts_failed(timer: Timer, awaited: bool) -> None:
    """After the last attempt the error says what was tried, how often, and why it failed."""
    with pytest.raises(GaveUpError, match=r"bars of X: gave up after 3 attempts.*BusyError: busy") as caught:
        run(policy(timer, attempts=3), failing(*[BusyError()] * 3), awaited)
    assert isinstance(caught.value.__cause__, BusyError)
    assert len(timer.waits) == 2


def test_the_vendor_is_not_asked_before_it_said(timer: Timer) -> None:
    """A wait that the vendor names is honoured where the backoff would be shorter."""
    retry = policy(timer, base=0.1, retry_after=lambda error: getattr(error, "wait", None))
    assert retry.call(failing(BusyError(7.0), BusyError()), "x") == "answer"
    assert timer.waits[0] == 7.0
    assert timer.waits[1] <= 0.2


def test_no_wait_passes_the_deadline(timer: Timer) -> None:
    """A vendor that asks for more time than there is ends it without waiting."""
    retry = policy(timer, deadline=10.0, retry_after=lambda error: getattr(error, "wait", None))
    with pytest.raises(GaveUpError, match=r"due in 60.0 s, past the deadline of 10 s"):
        retry.call(failing(BusyError(60.0)), "x")
    assert timer.waits == []


def test_an_attempt_that_hangs_ends_at_the_deadline() -> None:
    """A call that never answers is cancelled when the deadline has passed."""
    retry = RetryPolicy(on=(BusyError,), deadline=0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    with pytest.raises(GaveUpError, match=r"no answer within the deadline of 0.05 s"):
        asyncio.run(retry.acall(hang, "x"))


def test_an_endless_row_of_failures_waits_the_cap(timer: Timer) -> None:
    """A stream that cannot connect for days waits no longer than the cap, and overflows nothing."""
    retry = policy(timer, cap=30.0)
    asyncio.run(retry.pause(100_000))
    assert 0 <= timer.waits[0] <= 30.0


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"base": 0.0}, {"cap": -1.0}, {"deadline": 0.0}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    """A policy names the number that it cannot work with."""
    with pytest.raises(InputError, match=next(iter(wrong))):
        RetryPolicy(on=(BusyError,), **wrong)
