"""Binance and Kraken on loopback, at noon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from alphaloop.clock import ReplayClock

from . import crypto_venues
from .crypto_live import NOON


@pytest.fixture
def clock() -> ReplayClock:
    """Noon, to the second."""
    return ReplayClock(NOON)


@pytest.fixture(params=["Binance", "Kraken"])
def venue(request: pytest.FixtureRequest, clock: ReplayClock) -> Iterator[Any]:
    """Each of the two exchanges."""
    with getattr(crypto_venues, request.param)(clock) as server:
        yield server


@pytest.fixture
def binance(clock: ReplayClock) -> Iterator[Any]:
    """Binance alone."""
    with crypto_venues.Binance(clock) as server:
        yield server


@pytest.fixture
def kraken(clock: ReplayClock) -> Iterator[Any]:
    """Kraken alone."""
    with crypto_venues.Kraken(clock) as server:
        yield server
