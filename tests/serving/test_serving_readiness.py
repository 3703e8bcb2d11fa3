"""Readiness looks and never loads: whoever asks for it need not show a token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from alphaloop.runtime.processes import free_port
from serving.hosts.process import ProcessHost
from serving.inference.model_cache import ModelCache

TOKEN = "predict-and-administer-1"


@pytest.fixture
def guarded(world: Any, shelf: Any, tmp_path: Path) -> Iterator[tuple[ProcessHost, str]]:
    """A host that wants a token; of its model version 1 is champion, 2 and 3 are registered."""
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann predict,admin {TOKEN}\n")
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    shelf.add(3.0, 2.0, 1.0)
    shelf.add(1.0, 1.0, 1.0)
    settings = world.settings(model=shelf.name, tokens=tokens, http_port=free_port(), rate_limit=0.001)
    with ProcessHost(settings, free_port()) as host:
        yield host, shelf.name


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The versions that any engine is asked to load."""
    versions: list[str] = []
    original = ModelCache.load

    def load(self: ModelCache, model: str, version: str) -> Any:
        versions.append(version)
        return original(self, model, version)

    monkeypatch.setattr(ModelCache, "load", load)
    return versions


def over_grpc(host: ProcessHost, model: str, version: str = "") -> bool:
    """`ModelReady`, without a token."""
    with grpc.insecure_channel(host.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        return bool(stub.ModelReady(service_pb2.ModelReadyRequest(name=model, version=version)).ready)


def over_http(host: ProcessHost, model: str, version: str = "") -> bool:
    """The same by HTTP: 200 with `ready`, or 400."""
    line = HTTPConnection(*host.http_url.split(":"), timeout=5)
    line.request("GET", f"/v2/models/{model}{f'/versions/{version}' if version else ''}/ready")
    answer = line.getresponse()
    ready = json.loads(answer.read())["ready"]
    line.close()
    assert answer.status == (200 if ready else 400)
    return bool(ready)


@pytest.mark.parametrize("ready", [over_grpc, over_http])
def test_to_ask_whether_a_version_is_ready_loads_nothing(guarded: Any, loaded: list[str], ready: Any) -> None:
    """The champion is ready, what is only registered is not, and no number of questions changes that."""
    host, model = guarded
    loaded.clear()
    assert (ready(host, model), ready(host, model, "1")) == (True, True)
    assert [ready(host, model, version) for version in ("2", "3", "2", "99", "-1", "x")] == [False] * 6
    assert not ready(host, "nothing")
    assert loaded == []


def test_a_version_is_ready_once_it_is_loaded_and_until_it_is_unloaded(shelf: Any, serve: Any) -> None:
    """The repository's calls change what is ready; one that was unloaded stays barred, in memory or not."""
    shelf.route(champion=shelf.add(1.0, 0.0, 0.0))
    other = shelf.add(0.0, 1.0, 0.0)
    core = serve(shelf).core
    assert not core.model_ready(shelf.name, other)
    core.repository.load(shelf.name, other)
    assert core.model_ready(shelf.name, other)
    core.repository.unload(shelf.name, other)
    core.repository._model_cache.load(shelf.name, other)
    assert not core.model_ready(shelf.name, other)
    assert [one.state for one in core.repository.index() if one.version == other] == ["UNAVAILABLE"]
