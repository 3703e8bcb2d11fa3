"""Ray Serve's configuration of the deployment, the same for a local run and a cluster.

`serve_config` returns the input of `serve deploy`, which is also the content of a RayService's
`serveConfigV2`.
"""

from __future__ import annotations

import json
from typing import Any

from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from serving.hosts.unsupported_settings import HostKind, require_supported_settings

APPLICATION, DEPLOYMENT = "alphaloop", "inference"
ADD_SERVICE = "serving.hosts.ingress.add_service"
BUILDER = "serving.hosts.ray:application"
POLICY = "serving.hosts.scaling:by_load"
REPLICA_CPUS = 0.2
MIN_ONGOING_LIMIT = 64
GRACE_SECONDS = 5.0
# Starting a replica costs seconds and half a gigabyte, so the load must persist.
UPSCALE_SECONDS, DOWNSCALE_SECONDS, LOOK_BACK_SECONDS = 10.0, 300.0, 20.0


def logging_options() -> dict[str, Any]:
    """Return the options of Serve's loggers.

    There is no access log, because a line for each request would cost more than the request.
    """
    return {"log_level": "WARNING", "enable_access_log": False}


def scaling_options(serving: ServingSettings) -> dict[str, Any]:
    """Return the number of replicas, fixed or between two limits."""
    if not serving.max_replicas:
        return {"num_replicas": serving.replicas}
    return {
        "autoscaling_config": {
            "min_replicas": serving.replicas,
            "initial_replicas": serving.replicas,
            "max_replicas": max(serving.replicas, serving.max_replicas),
            "upscale_delay_s": UPSCALE_SECONDS,
            "downscale_delay_s": DOWNSCALE_SECONDS,
            "look_back_period_s": LOOK_BACK_SECONDS,
            "policy": {"policy_function": POLICY},
        }
    }


def deployment_options(serving: ServingSettings) -> dict[str, Any]:
    """Return the options of the deployment."""
    return {
        "name": DEPLOYMENT,
        **scaling_options(serving),
        # Higher than our own limit, which refuses with a status and a hint; Serve's has neither.
        "max_ongoing_requests": max(MIN_ONGOING_LIMIT, 2 * serving.max_in_flight),
        "ray_actor_options": {"num_cpus": REPLICA_CPUS},
        "graceful_shutdown_timeout_s": GRACE_SECONDS,
        "logging_config": logging_options(),
    }


def serve_config(settings: Settings) -> dict[str, Any]:
    """Return Serve's whole configuration for `settings`, as `serve deploy` takes it (`ServeDeploySchema`).

    Serve listens on all interfaces of each node, which a cluster's network policy guards; TLS belongs to the
    ingress in front. Raises `SettingsError` for a setting that a cluster cannot honour.
    """
    serving = settings.serving
    require_supported_settings(serving, HostKind.CLUSTER)
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": "0.0.0.0", "port": serving.http_port},  # noqa: S104 - see above
        "grpc_options": {"port": serving.grpc_port, "grpc_servicer_functions": [ADD_SERVICE]},
        "logging_config": logging_options(),
        "applications": [
            {
                "name": APPLICATION,
                "route_prefix": "/",
                "import_path": BUILDER,
                "args": {"settings": json.loads(settings.model_dump_json())},
                "deployments": [deployment_options(serving)],
            }
        ],
    }


def serve_config_text(settings: Settings) -> str:
    """Return `serve_config` as YAML."""
    import yaml

    return str(yaml.safe_dump(serve_config(settings), sort_keys=False))
