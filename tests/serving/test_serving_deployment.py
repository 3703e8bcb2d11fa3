"""What a cluster is told: Serve's configuration, the RayService around it, and how many replicas."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import pytest
import yaml

from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from serving.hosts.deployment import serve_config, serve_config_text
from serving.hosts.scaling import by_load, replicas_needed

CRD = Path(__file__).resolve().parents[3] / "shared" / "crds" / "ray.io_rayservices.yaml"


def settings(**serving: Any) -> Settings:
    """Settings of a cluster."""
    return Settings(serving=ServingSettings(**serving))


@pytest.mark.parametrize("serving", [{"replicas": 3}, {"replicas": 2, "max_replicas": 8}])
def test_serve_takes_the_configuration(serving: dict[str, int]) -> None:
    """Its own schema reads the YAML back, with the replicas, ports and functions of the settings."""
    from ray.serve.schema import ServeDeploySchema

    chosen = settings(grpc_port=9001, http_port=9000, **serving)
    schema = ServeDeploySchema.model_validate(yaml.safe_load(serve_config_text(chosen)))
    (application,) = schema.applications
    (deployment,) = application.deployments
    assert (schema.grpc_options.port, schema.http_options.port) == (9001, 9000)
    assert application.import_path == "serving.hosts.ray:application"
    if "max_replicas" in serving:
        scaled = deployment.autoscaling_config
        assert (scaled["min_replicas"], scaled["max_replicas"]) == (2, 8)
    else:
        assert deployment.num_replicas == 3


def test_the_named_parts_are_there() -> None:
    """What the configuration names by import path can be imported, and builds the application."""
    from ray._common.utils import import_attr

    told = serve_config(settings())
    for name in told["grpc_options"]["grpc_servicer_functions"]:
        assert callable(import_attr(name))
    (application,) = told["applications"]
    builder = import_attr(application["import_path"])
    built = builder(application["args"])
    assert built._bound_deployment.name == application["deployments"][0]["name"]
    scaled = serve_config(settings(max_replicas=4))["applications"][0]["deployments"][0]["autoscaling_config"]
    assert import_attr(scaled["policy"]["policy_function"]) is by_load


@pytest.mark.skipif(not CRD.exists(), reason="the published definition of RayService is not at hand")
def test_a_ray_service_holds_it() -> None:
    """With the configuration as its serveConfigV2, a RayService fits KubeRay's published definition."""
    versions = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    schema = next(one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1")
    container = {"name": "ray-head", "image": "alphaloop"}
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "alphaloop"},
        "spec": {
            "serveConfigV2": serve_config_text(settings(max_replicas=4)),
            "rayClusterConfig": {
                "headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": [container]}}}
            },
        },
    }
    jsonschema.validate(manifest, schema)
    assert yaml.safe_load(manifest["spec"]["serveConfigV2"]) == serve_config(settings(max_replicas=4))


@pytest.mark.parametrize(
    ("busy", "running", "count"),
    [
        ([0.3, 0.3], 2, 1),
        ([0.6, 0.6], 2, 2),
        ([0.9, 0.9], 2, 3),
        ([1.0], 1, 2),
        ([0.9], 3, 5),  # two replicas are new and have not said anything
        ([0.0, 0.0], 2, 0),
        ([], 2, 2),
    ],
)
def test_replicas_are_as_many_as_the_load_needs(busy: list[float], running: int, count: int) -> None:
    """Each gets the share of a core that it may use, and silence changes nothing."""
    assert replicas_needed(busy, 0.6, running) == count


@pytest.mark.parametrize(("busy", "count"), [(0.0, 2), (0.9, 3), (1.0, 4)])
def test_the_number_stays_within_its_limits(busy: float, count: int) -> None:
    """Serve's policy never gives fewer than the least or more than the most."""
    context = SimpleNamespace(
        aggregated_metrics={
            "busy": {"a": busy, "b": busy},
            "target_busy": {"a": 0.3 if busy == 1.0 else 0.6},
        },
        current_num_replicas=2,
        capacity_adjusted_min_replicas=2,
        capacity_adjusted_max_replicas=4,
    )
    assert by_load(context) == (count, {})
