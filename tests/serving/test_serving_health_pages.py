"""What `/livez` and `/readyz` say beside the metrics: ready unless another server could do the work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from alphaloop.telemetry.health import PartHealth, PartState, readiness_page
from serving.server.health_pages import ServerHealth


@dataclass
class Core:
    """What of the core its health needs."""

    ready: bool = True
    registry_away: str | None = None


@pytest.fixture
def core() -> Core:
    return Core()


@pytest.fixture
def health(core: Core) -> ServerHealth:
    return ServerHealth(core, "equities")  # type: ignore[arg-type]


@pytest.fixture
def ask(health: ServerHealth) -> Any:
    pages = TestClient(Starlette(routes=health.routes()))

    def get(path: str) -> tuple[int, Any]:
        answer = pages.get(path)
        return answer.status_code, answer.json() if path == "/readyz" else answer.text

    return get


def test_a_server_with_a_model_is_ready(ask: Any) -> None:
    """Every part is named with its state, and none has a reason."""
    parts = {name: {"state": "ok"} for name in ("server", "model", "registry")}
    assert ask("/readyz") == (200, {"state": "ok", "parts": parts})


def test_a_registry_that_is_away_is_degraded_and_no_reason_to_send_requests_elsewhere(
    ask: Any, core: Core
) -> None:
    """All servers read the same registry; this one goes on with what it knows, and says why."""
    core.registry_away = "the registry does not answer"
    status, body = ask("/readyz")
    assert (status, body["state"]) == (200, "degraded")
    assert body["parts"]["registry"] == {"state": "degraded", "reason": "the registry does not answer"}


def test_a_server_without_a_model_is_not_ready(ask: Any, core: Core) -> None:
    """Another server may have one; the reason names the model."""
    core.ready = False
    status, body = ask("/readyz")
    assert (status, body["state"]) == (503, "down")
    assert body["parts"]["model"]["reason"] == "no version of 'equities' is loaded yet"


def test_a_draining_server_lives_and_is_not_ready(ask: Any, health: ServerHealth) -> None:
    """It is not to be restarted, and gets no new requests."""
    health.drain()
    assert ask("/readyz")[0] == 503
    assert ask("/livez") == (200, "ok\n")


def test_the_worst_part_is_the_state_of_the_whole() -> None:
    """Down outweighs degraded, and degraded outweighs ok."""
    down, degraded = PartHealth("a", PartState.DOWN, "x"), PartHealth("b", PartState.DEGRADED, "y")
    assert [readiness_page(parts)[1]["state"] for parts in ([degraded, down], [degraded], [])] == [
        "down", "degraded", "ok"
    ]  # fmt: skip
