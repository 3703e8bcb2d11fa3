"""The source of Alpaca before a server on loopback, with credentials that are right."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from random import Random

import pytest

from alphaloop.clock import ReplayClock
from marketdata.connectors.rate_limit import VenueUnavailableError, requested_wait
from marketdata.connectors.retry import RetryPolicy
from marketdata.sources.alpaca import AlpacaSource

from .alpaca_venue import KEY, OPEN, SECRET, Venue, handler_of


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right ones, in the environment."""
    monkeypatch.setenv("APCA_API_KEY_ID", KEY)
    monkeypatch.setenv("APCA_API_SECRET_KEY", SECRET)


@pytest.fixture
def venue() -> Venue:
    """The servers' state, at ten o'clock."""
    return Venue(ReplayClock(OPEN))


@pytest.fixture
def waits() -> list[float]:
    """How long the source would have waited."""
    return []


@pytest.fixture
def alpaca(venue: Venue, waits: list[float], credentials: None) -> Iterator[AlpacaSource]:
    """The source before the REST server, with its waits cut short; no thread outlives it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(venue))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    async def pause(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    retry = RetryPolicy(
        on=(VenueUnavailableError,), retry_after=requested_wait, attempts=4, base=0.01,
        random=Random(1), sleep=waits.append, async_sleep=pause,
    )  # fmt: skip
    source = AlpacaSource(
        rest_url=f"http://127.0.0.1:{server.server_port}", timeout=5.0, clock=venue.clock, retry=retry
    )
    yield source
    if "_client" in source.__dict__:
        source._client._session.close()
    server.shutdown()
    thread.join()
    server.server_close()
