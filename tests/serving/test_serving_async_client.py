"""The client for an event loop: it agrees with the one that blocks, and cancels on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import grpc
import numpy as np
import pytest

from alphaloop.clock import monotonic
from alphaloop.errors import InputError, ServingError
from alphaloop.runtime.processes import free_port
from serving.client.async_client import AsyncPredictionClient
from serving.client.client import PredictionClient
from serving.client.retry_policy import RetrySettings

PANEL = np.zeros((1, 1, 1), np.float32)
SOMEWHEN = datetime(2019, 1, 3, 21, 0, tzinfo=UTC)


async def given_up(replica: Any, count: int = 1) -> bool:
    """Whether the replica learns, soon, that so many of its callers no longer wait."""
    until = monotonic() + 5
    while replica.given_up < count and monotonic() < until:
        await asyncio.sleep(0.01)
    return bool(replica.given_up == count)


async def asked(replica: Any, count: int = 1) -> None:
    """Wait until a replica has been asked."""
    until = monotonic() + 5
    while replica.asked < count and monotonic() < until:
        await asyncio.sleep(0.01)


def test_both_clients_give_the_same_answers(world: Any, shelf: Any, server_process: Any) -> None:
    """Forecasts and scores are equal but for the prediction's id; fifty tasks may share the client."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    panel = world.panel[:, -2:]
    with server_process(world.settings(model=shelf.name), free_port()) as server:
        url = server.ready()
        with PredictionClient(url, shelf.name) as client:
            forecast, scores = client.forecast(world.symbols, world.bar, "sleeve-00"), client.infer(panel)

        async def ask() -> None:
            async with AsyncPredictionClient(url, shelf.name) as client:
                assert await client.live()
                assert await client.ready()
                assert np.array_equal(await client.infer(panel, version="1"), scores)
                many = (client.forecast(world.symbols, world.bar, "sleeve-00") for _ in range(50))
                answers = await asyncio.gather(*many)
            assert len({one.prediction_id for one in answers}) == 50
            for one in answers:
                assert replaced(one) == replaced(forecast)

        asyncio.run(ask())


def replaced(forecast: Any) -> dict[str, Any]:
    """What must be equal of two answers to one question."""
    return {name: getattr(forecast, name) for name in forecast.__slots__ if name != "prediction_id"}


def test_a_killed_replica_loses_no_request(world: Any, shelf: Any, server_process: Any) -> None:
    """One of two servers dies with requests on the way; every request is answered, by the other."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    settings = world.settings(model=shelf.name)
    answers: list[Any] = []

    async def load(urls: list[str], victim: Any) -> None:
        async def one() -> None:
            answers.append(await client.forecast(world.symbols, world.bar))

        async with AsyncPredictionClient(urls, shelf.name) as client, asyncio.TaskGroup() as tasks:
            for number in range(200):
                tasks.create_task(one())
                await asyncio.sleep(0.005)
                if number == 80:
                    victim.kill()

    with ExitStack() as stack:
        pair = [stack.enter_context(server_process(settings, free_port())) for _ in range(2)]
        asyncio.run(load([server.ready() for server in pair], pair[0]))
    assert len({one.prediction_id for one in answers}) == 200
    assert all(one.scores == answers[0].scores for one in answers)


def test_who_is_cancelled_cancels_on_the_wire(pair: Any) -> None:
    """The server learns at once that nobody waits, and the client goes on to answer other tasks."""
    first, _, urls = pair
    first.delay = 30.0

    async def run() -> None:
        async with AsyncPredictionClient(urls, "m", retries=RetrySettings(hedge_ms=0)) as client:
            task = asyncio.create_task(client.infer(PANEL, deadline_ms=20_000))
            await asked(first)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await given_up(first)
            assert (await client.infer(PANEL))[0] == 2.0

    asyncio.run(run())


def test_a_timeout_around_a_hedged_question_cancels_both(pair: Any) -> None:
    """Where two servers are at it, both learn that nobody waits; `asyncio.timeout` is kept."""
    first, second, urls = pair
    first.delay = second.delay = 30.0

    async def run() -> None:
        async with AsyncPredictionClient(urls, "m", retries=RetrySettings(hedge_ms=20)) as client:
            started = monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await client.infer(PANEL, deadline_ms=20_000)
            assert monotonic() - started < 2
            assert await given_up(first)
            assert await given_up(second)
        assert (first.asked, second.asked) == (1, 1)

    asyncio.run(run())


def test_a_pause_can_be_cancelled(pair: Any) -> None:
    """A task that waits for an overloaded server to recover is cancelled at once."""
    first, _, urls = pair
    first.failures, first.pushback_ms = [(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")], "10000"

    async def run() -> None:
        async with AsyncPredictionClient(urls[0], "m") as client:
            started = monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.infer(PANEL, deadline_ms=20_000)
            assert monotonic() - started < 2

    asyncio.run(run())


def test_who_loses_a_race_is_told(pair: Any) -> None:
    """The first answer of a hedged question takes the other question off the wire."""
    first, second, urls = pair
    first.delay = 30.0

    async def run() -> None:
        async with AsyncPredictionClient(urls, "m", retries=RetrySettings(hedge_ms=30)) as client:
            assert (await client.infer(PANEL, deadline_ms=20_000))[0] == 2.0
            assert await given_up(first)
        assert (first.asked, second.asked) == (1, 1)

    asyncio.run(run())


def test_a_late_question_goes_on_beside_its_hedge(pair: Any) -> None:
    """The server that is late is not asked anew, and its answer counts where it is the first."""
    first, second, urls = pair
    first.delay, second.delay = 0.2, 30.0

    async def run() -> None:
        async with AsyncPredictionClient(urls, "m", retries=RetrySettings(hedge_ms=30)) as client:
            assert (await client.infer(PANEL, deadline_ms=20_000))[0] == 1.0
        assert (first.asked, second.asked) == (1, 1)

    asyncio.run(run())


def test_only_credit_asks_twice(pair: Any) -> None:
    """Of ten late answers at once one is hedged, and none of the others is given up before its deadline."""
    first, second, urls = pair
    first.delay = second.delay = 0.4

    async def run() -> None:
        retries = RetrySettings(hedge_ms=50, hedge_every=1_000)
        async with AsyncPredictionClient(urls, "m", retries=retries) as client:
            answers = await asyncio.gather(*(client.infer(PANEL, deadline_ms=5_000) for _ in range(10)))
        assert len(answers) == 10
        assert first.asked + second.asked == 11

    asyncio.run(run())


def test_closing_fails_what_is_under_way_and_cancels_nobody(pair: Any) -> None:
    """Who waits when the client is closed gets an error of serving, not a cancellation that nobody asked."""
    first, _, urls = pair
    first.delay = 30.0

    async def run() -> None:
        client = AsyncPredictionClient(urls[0], "m")
        task = asyncio.create_task(client.infer(PANEL, deadline_ms=20_000))
        await asked(first)
        await client.close()
        with pytest.raises(ServingError, match="the client is closed"):
            await task
        assert await given_up(first)

    asyncio.run(run())


def test_it_is_made_where_a_loop_runs() -> None:
    """Outside of an event loop the error names the other client."""
    with pytest.raises(InputError, match=r"no event loop runs here.*PredictionClient"):
        AsyncPredictionClient("127.0.0.1:1", "m")


def _fails(*failures: tuple[grpc.StatusCode, str]) -> Callable[[Any, Any], Any]:
    def ask(client: Any, replica: Any) -> Any:
        replica.failures = list(failures)
        return client.infer(PANEL)

    return ask


def _late(client: Any, replica: Any) -> Any:
    replica.delay = 30.0
    return client.infer(PANEL, deadline_ms=100)


def _left_alone(client: Any, replica: Any) -> Any:
    replica.failures = [(grpc.StatusCode.UNAVAILABLE, "going away")] * 9
    return client.infer(PANEL)


def _closed(client: Any, replica: Any) -> Any:
    client.close()
    return client.infer(PANEL)


STATUSES = [
    grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED,
]  # fmt: skip


@pytest.mark.parametrize(
    ("ask", "attempts"),
    [
        *(pytest.param(_fails((code, "what it says")), 1, id=code.name) for code in STATUSES),
        pytest.param(_late, 5, id="late"),
        pytest.param(_left_alone, 5, id="left-alone"),
        pytest.param(_closed, 5, id="closed"),
        pytest.param(lambda client, _: client.infer(PANEL, deadline_ms=0), 5, id="no-deadline"),
        pytest.param(lambda client, replica: replica.stop() or client.infer(PANEL), 1, id="nobody"),
        pytest.param(lambda client, _: client.forecast(["S00"], SOMEWHEN), 5, id="stranger"),
    ],
)
def test_both_clients_say_the_same(ask: Any, attempts: int, replicas: Any, awaited: Any) -> None:
    """Every failure has one text, whoever waits for it."""
    port, told = free_port(), []
    for kind in (PredictionClient, awaited):
        replica = replicas(1.0)
        url = replica.start(port)
        client = kind(url, "m", retries=RetrySettings(hedge_ms=0, attempts=attempts))
        with client, pytest.raises((ServingError, ValueError)) as caught:
            ask(client, replica)
        replica.stop()
        told.append((type(caught.value), str(caught.value)))
    assert told[0] == told[1]
