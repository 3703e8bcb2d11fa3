"""The load on a server: one request at a time, as many as it takes, or at fixed times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2_grpc

from alphaloop.clock import monotonic
from features.store.streamer import Streamer
from serving.client.client import PredictionClient

from .champion import MODEL, SLEEVES, SYMBOLS

# A tenth of a second before it counts: servers take turns, and each finds the caches full of the others'.
ASKED, WARM = 200, 100


def milliseconds(ask: Callable[[], Any], count: int = ASKED, warm: int = WARM) -> np.ndarray[Any, Any]:
    """The time of each of `count` requests, one after the other, after `warm` that do not count."""
    for _ in range(warm):
        ask()
    took = []
    for _ in range(count):
        start = monotonic()
        ask()
        took.append((monotonic() - start) * 1e3)
    return np.array(took)


def in_turns(asks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray[Any, Any]]:
    """p50 and p99 in milliseconds of each round, `[rounds, 2]`.

    The order is drawn anew each round: who always followed the slowest would have its caches cold.
    """
    found: dict[str, list[Any]] = {kind: [] for kind in asks}
    orders = np.random.default_rng(3)
    for _ in range(rounds):
        for kind in orders.permutation(list(asks)).tolist():
            count = ASKED if kind not in {"bentoml", "mlflow"} else ASKED // 4
            found[kind].append(np.percentile(milliseconds(asks[kind], count), (50, 99)))
    return {kind: np.array(values) for kind, values in found.items()}


async def closed(url: str, request: Any, seconds: float, clients: int = 8) -> float:
    """Requests a second with `clients` that ask again as soon as they are answered."""
    async with grpc.aio.insecure_channel(url) as channel:
        stub, count = service_pb2_grpc.GRPCInferenceServiceStub(channel), 0
        until = monotonic() + seconds

        async def client() -> None:
            nonlocal count
            while monotonic() < until:
                await stub.ModelInfer(request, timeout=10)
                count += 1

        await asyncio.gather(*(client() for _ in range(clients)))
        return count / seconds


async def open_loop(url: str, request: Any, rate: float, seconds: float) -> tuple[list[float], list[str]]:
    """Milliseconds from each request's due time to its answer, at `rate` a second, and the errors."""
    took: list[float] = []
    errors: list[str] = []
    async with grpc.aio.insecure_channel(url) as channel:
        stub, started = service_pb2_grpc.GRPCInferenceServiceStub(channel), monotonic() + 0.1

        async def send(due: float) -> None:
            try:
                await stub.ModelInfer(request, timeout=10)
                took.append((monotonic() - due) * 1e3)
            except grpc.RpcError as error:
                errors.append(str(error.code()))

        # Only those on their way are kept: the collector walks over all that is, while requests are due.
        tasks: set[asyncio.Task[None]] = set()
        for number in range(int(rate * seconds)):
            due = started + number / rate
            wait = due - monotonic()
            # The loop must run now and then even when it is late, or nothing is sent.
            await asyncio.sleep(max(0.0, wait))
            task = asyncio.create_task(send(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    return took, errors


def by_symbols(url: str, streamer: Streamer, bars: list[Any]) -> Callable[[], Any]:
    """Asks by symbols for the sleeves in turn; a new bar is published before every 20 requests."""
    client, asked = PredictionClient(url, MODEL), [0]

    def ask() -> Any:
        bar, sleeve = divmod(asked[0], len(SLEEVES))
        if sleeve == 0:
            streamer.publish(bars[bar], "bench")
        asked[0] += 1
        return client.forecast(SYMBOLS, bars[bar].timestamp, SLEEVES[sleeve])

    return ask
