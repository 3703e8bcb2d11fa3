"""A version has one name: its number, without leading zeros, wherever it is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from alphaloop.errors import UnknownNameError
from alphaloop.version_number import is_version_number
from serving.exports.exported_version import ExportedVersion
from serving.server.metrics import metrics_text

from .edges import Edges, json_panel, panel_message

PANEL = np.zeros((2, 2, 3), np.float32)
OTHERS = ("01", "001", "000000001", "0", "+1", "1 ", "１")


@pytest.fixture
def edges(shelf: Any, serve: Any) -> Iterator[Edges]:
    """Both edges over two versions of a model, the first as champion and the second loaded."""
    shelf.route(champion=shelf.add(1.0, 2.0, 3.0))
    shelf.add(3.0, 2.0, 1.0)
    yield Edges(serve(shelf).core)


@pytest.mark.parametrize("text", ["1", "9", "10", "123456789"])
def test_numbers_are_versions(text: str) -> None:
    """Whole numbers from 1 are."""
    assert is_version_number(text)


@pytest.mark.parametrize("text", [*OTHERS, "", "1.0", "1_0", "1234567890", "-1", "latest"])
def test_other_spellings_are_no_versions(text: str) -> None:
    """Nothing else is, even where Python or MLflow would take it for a number."""
    assert not is_version_number(text)


def test_http_knows_no_other_spelling(edges: Edges) -> None:
    """404 wherever a version is in the path; of readiness that it is not, as for any unknown one."""
    place = f"/v2/models/{edges.core.settings.serving.model}/versions"
    for version in ("01", "001", "0"):
        assert edges.http(f"{place}/{version}/ready")[0] == 400
        for end, body in (("", None), ("/config", None), ("/stats", None), ("/infer", json_panel(PANEL))):
            status, answer, _ = edges.http(f"{place}/{version}{end}", body)
            assert (status, f"unknown version '{version}'" in answer["error"]) == (404, True), end


def test_grpc_and_the_repository_know_none_either(edges: Edges) -> None:
    """Inference, readiness, metadata, statistics, load and unload refuse it, and nothing is loaded by it."""
    model, name = edges.core.settings.serving.model, "02"
    assert edges.infer(panel_message(model, PANEL, name).SerializeToString())[0] is grpc.StatusCode.NOT_FOUND
    for method, kind in (
        ("ModelMetadata", service_pb2.ModelMetadataRequest), ("ModelConfig", service_pb2.ModelConfigRequest),
        ("ModelStatistics", service_pb2.ModelStatisticsRequest),
    ):  # fmt: skip
        assert edges.call(method, kind(name=model, version=name))[0] is grpc.StatusCode.NOT_FOUND
    for verb in ("Load", "Unload"):
        request = getattr(service_pb2, f"RepositoryModel{verb}Request")(model_name=model)
        request.parameters["version"].string_param = name
        assert edges.call(f"RepositoryModel{verb}", request)[0] is grpc.StatusCode.NOT_FOUND
    _, _, ready = edges.call("ModelReady", service_pb2.ModelReadyRequest(name=model, version=name))
    assert not ready.ready
    _, _, index = edges.call("RepositoryIndex", service_pb2.RepositoryIndexRequest(ready=True))
    assert [one.version for one in index.models if one.name == model] == ["1"]
    assert 'version="02"' not in metrics_text(edges.gateway).decode()


def test_what_was_unloaded_is_not_got_by_another_spelling(edges: Edges) -> None:
    """An unloaded version stays away, and its number with a zero is none."""
    model = edges.core.settings.serving.model
    unload = {"parameters": {"version": 2}}
    assert edges.http(f"/v2/repository/models/{model}/unload", json.dumps(unload).encode())[0] == 200
    statuses = [
        edges.http(f"/v2/models/{model}/versions/{version}/infer", json_panel(PANEL))[0]
        for version in ("2", "02")
    ]
    assert statuses == [409, 404]


def test_the_registry_and_exports_know_no_other_spelling(shelf: Any) -> None:
    """MLflow takes `01` for 1; the registry does not, so no export, rollout or signature does."""
    shelf.add(1.0, 2.0, 3.0)
    for version in OTHERS:
        with pytest.raises(UnknownNameError, match="unknown version"):
            ExportedVersion.read(shelf.registry, shelf.name, version)
        with pytest.raises(UnknownNameError, match="unknown version"):
            shelf.route(champion=version)
        with pytest.raises(UnknownNameError, match="unknown version"):
            shelf.registry.sign(shelf.name, version, "00")
    assert shelf.registry.card(shelf.name, "1").model == shelf.name


def test_an_export_of_one_version_twice_is_refused_and_leaves_nothing(shelf: Any, tmp_path: Path) -> None:
    """The version is named, and where the repository would have been there is nothing."""
    from alphaloop.errors import InputError
    from serving.exports.triton import export_triton

    shelf.add(1.0, 2.0, 3.0)
    exported = ExportedVersion.read(shelf.registry, shelf.name)
    with pytest.raises(InputError, match="version 1 is named twice"):
        export_triton([exported, exported], tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []
