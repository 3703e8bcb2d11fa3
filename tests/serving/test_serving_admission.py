"""Overload is refused at once with a hint, before the latency of the others suffers; deadlines are kept."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.clock import monotonic, sleep
from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.inference.model_cache import LoadedModel
from serving.server.admission import MAX_ARRIVAL_SECONDS, Admission
from serving.server.grpc.grpc_edge import PUSHBACK_KEY

SERVICE_MS = 2.0


def request(model: str) -> Any:
    """A request by tensor."""
    message = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[b"\0" * 48])
    message.inputs.add(name="panel", datatype="FP32", shape=[2, 2, 3])
    return message


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every run of a graph takes two milliseconds; the moments at which one began."""
    scored: list[float] = []
    original = LoadedModel.score

    def score(self: LoadedModel, panel: Any, complete: bool = False) -> Any:
        scored.append(monotonic())
        sleep(SERVICE_MS / 1e3)
        return original(self, panel)

    monkeypatch.setattr(LoadedModel, "score", score)
    return scored


@pytest.fixture
def champion(shelf: Any) -> Any:
    """A shelf with a champion."""
    shelf.route(champion=shelf.add(1.0, 1.0, 1.0))
    return shelf


async def flood(url: str, model: str, clients: int, rounds: int) -> tuple[list[float], list[Any]]:
    """Milliseconds of the answers, and the refusals, of `clients` that ask all at once, `rounds` times."""
    took: list[float] = []
    refused: list[Any] = []
    async with grpc.aio.insecure_channel(url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

        async def ask() -> None:
            for _ in range(rounds):
                start = monotonic()
                try:
                    await stub.ModelInfer(request(model), timeout=20)
                    took.append((monotonic() - start) * 1e3)
                except grpc.aio.AioRpcError as error:
                    refused.append(error)

        await asyncio.gather(*(ask() for _ in range(clients)))
    return took, refused


def test_overload_is_refused_with_a_hint(world: Any, champion: Any, slow: list[float]) -> None:
    """Far more clients than are held: most are refused at once, with gRPC's own pushback as the hint,
    and every one gets either an answer or the refusal.
    """
    limit = 8
    settings = world.settings(model=champion.name, max_in_flight=limit, batch_symbols=0)
    with ProcessHost(settings, free_port()) as host:
        took, refused = asyncio.run(flood(host.url, champion.name, clients=200, rounds=2))
    assert len(took) + len(refused) == 400
    assert took
    assert len(refused) > 100
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert "the most at a time" in refused[0].details()
    hints = [int(dict(error.trailing_metadata())[PUSHBACK_KEY]) for error in refused]
    assert all(1 <= hint <= 10_000 for hint in hints)


def test_few_clients_are_never_refused(world: Any, champion: Any, slow: list[float]) -> None:
    """Fewer clients than the limit are all answered, in about the time that their turns take."""
    with ProcessHost(world.settings(model=champion.name), free_port()) as host:
        took, refused = asyncio.run(flood(host.url, champion.name, clients=8, rounds=10))
    assert (len(took), refused) == (80, [])


def test_a_deadline_in_the_queue_computes_nothing(world: Any, champion: Any, slow: list[float]) -> None:
    """Requests whose deadline passes while others compute get DEADLINE_EXCEEDED and cost no computation."""

    async def ask(url: str) -> list[grpc.StatusCode]:
        codes: list[grpc.StatusCode] = []
        async with grpc.aio.insecure_channel(url) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

            async def one() -> None:
                try:
                    await stub.ModelInfer(request(champion.name), timeout=0.02)
                    codes.append(grpc.StatusCode.OK)
                except grpc.aio.AioRpcError as error:
                    codes.append(error.code())

            await asyncio.gather(*(one() for _ in range(60)))
        return codes

    with ProcessHost(world.settings(model=champion.name, batch_symbols=0), free_port()) as host:
        before = len(slow)
        codes = asyncio.run(ask(host.url))
        sleep(0.3)
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.DEADLINE_EXCEEDED}
    assert codes.count(grpc.StatusCode.DEADLINE_EXCEEDED) > 10
    assert len(slow) - before < 45


def test_an_idle_loop_computes_at_once() -> None:
    """Alone and after a rest, a request does not wait for a round of the loop."""

    async def alone() -> bool:
        admission = Admission(4)
        assert admission.enter()
        waiting = admission.wait_turn(object())
        try:
            waiting.send(None)
        except StopIteration:
            return True
        return False

    assert asyncio.run(alone())


def test_turns_come_in_order_and_survive_cancellation() -> None:
    """The first to come computes first; one that was cancelled is passed over."""

    async def several() -> list[int]:
        admission, order = Admission(10), []

        async def one(number: int) -> None:
            admission.enter()
            try:
                await admission.wait_turn(object())
                order.append(number)
            finally:
                admission.leave()

        tasks = [asyncio.create_task(one(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert admission.in_flight == 0
        return order

    assert asyncio.run(several()) == [0, 1, 3, 4, 5]


def test_the_limit_counts_what_is_held() -> None:
    """Above the limit `enter` refuses, and a place is free again once one has left."""
    admission = Admission(2)
    assert [admission.enter() for _ in range(3)] == [True, True, False]
    assert "2 requests are being answered" in str(admission.refusal())
    admission.leave()
    assert admission.enter()
    assert np.isfinite(admission.refusal().retry_after)


def test_a_request_on_its_way_is_waited_for_and_not_for_long() -> None:
    """What has been announced keeps the next from computing at once; a message that never comes does not."""

    async def at_once(admission: Admission) -> bool:
        turn = asyncio.ensure_future(admission.wait_turn(object()))
        await asyncio.sleep(0)
        return turn.done() or bool(await turn)

    async def alone() -> tuple[bool, bool, int]:
        admission, never = Admission(4), object()
        admission.announce(never)
        admission.enter()
        beside = await at_once(admission)
        await asyncio.sleep(2 * MAX_ARRIVAL_SECONDS)
        return beside, await at_once(admission), admission.in_flight

    assert asyncio.run(alone()) == (False, True, 1)
