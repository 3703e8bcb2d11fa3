"""The source of Interactive Brokers before a gateway on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from random import Random

import pytest

from alphaloop.clock import ReplayClock
from marketdata.connectors.rate_limit import VenueUnavailableError, requested_wait
from marketdata.connectors.retry import RetryPolicy
from marketdata.sources.ibkr import IbkrSource

from .ibkr_gateway import OPEN, Gateway


@pytest.fixture
def gateway() -> Gateway:
    """A gateway at half a minute past ten."""
    return Gateway(ReplayClock(OPEN))


@pytest.fixture
def waits() -> list[float]:
    """How long the source would have waited."""
    return []


@pytest.fixture
def ibkr(gateway: Gateway, waits: list[float]) -> Iterator[IbkrSource]:
    """The source before the gateway, with its waits cut short; the gateway has a thread and a loop."""
    ready, ports = threading.Event(), list[int]()
    ending: list[asyncio.Event] = []

    async def main() -> None:
        server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0)
        gateway.loop = asyncio.get_running_loop()
        ending.append(asyncio.Event())
        ports.append(server.sockets[0].getsockname()[1])
        ready.set()
        await ending[0].wait()
        server.close()
        gateway.drop()
        await asyncio.sleep(0.01)

    thread = threading.Thread(target=asyncio.run, args=(main(),), name="gateway")
    thread.start()
    ready.wait(5)

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    retry = RetryPolicy(
        on=(VenueUnavailableError,),
        retry_after=requested_wait,
        attempts=4,
        base=0.01,
        random=Random(1),
        async_sleep=pause,
    )
    yield IbkrSource(port=ports[0], client_id=7, timeout=5.0, poll=0.02, clock=gateway.clock, retry=retry)
    gateway.loop.call_soon_threadsafe(ending[0].set)
    thread.join()
