"""Settings that a host cannot honour: they end its start, instead of being ignored.

Each rule names the setting, the values that a host cannot honour, and the way out. A setting without a rule
is honoured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from alphaloop.errors import SettingsError
from alphaloop.settings.serving import ServingSettings
from serving.hosts.environment import has_haproxy


class HostKind(StrEnum):
    """Kind of host: one process, a local Ray, or Ray Serve's configuration for a cluster."""

    PROCESS = "process"
    RAY = "ray"
    CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class UnsupportedSetting:
    """Rule that `setting` cannot be honoured if `broken` is true of the settings.

    `way_out` says what to do.
    """

    setting: str
    broken: Callable[[ServingSettings], bool]
    way_out: str


DEFAULT_SETTINGS = ServingSettings()
# A local Ray has ports for ten (`serving.hosts.environment`): these, and two that replace others.
MAX_LOCAL_REPLICAS = 8
LOOPBACKS_AND_ALL = ("127.0.0.1", "0.0.0.0")  # noqa: S104 - compared, not bound

_NO_TLS = "Ray Serve has no TLS on gRPC: use the ingress or mesh in front, or serving.runtime 'process'"
_ONE = "one process has no replicas: unset it, or use serving.runtime 'ray'"
_NO_HTTP = "Ray Serve always serves HTTP: give a port"


def _tls() -> tuple[UnsupportedSetting, ...]:
    return (
        UnsupportedSetting("tls_certificate", lambda one: one.tls_certificate is not None, _NO_TLS),
        UnsupportedSetting("tls_key", lambda one: one.tls_key is not None, _NO_TLS),
        UnsupportedSetting("tls_client_ca", lambda one: one.tls_client_ca is not None, _NO_TLS),
    )


def _on_ray() -> tuple[UnsupportedSetting, ...]:
    return (
        *_tls(),
        UnsupportedSetting(
            "rate_limit",
            lambda one: one.rate_limit > 0 and one.tokens is None,
            "behind Ray Serve's proxy all clients have one address: set serving.tokens to tell them apart",
        ),
        UnsupportedSetting("http_port", lambda one: one.http_port == 0, _NO_HTTP),
        UnsupportedSetting(
            "drain_seconds",
            lambda one: one.drain_seconds not in (0, DEFAULT_SETTINGS.drain_seconds),
            "Ray Serve drains by rules of its own: leave it out, or use serving.runtime 'process'",
        ),
        UnsupportedSetting(
            "max_replicas",
            lambda one: 0 < one.max_replicas < one.replicas,
            "it is less than serving.replicas: raise it, or set it to 0 for a fixed number",
        ),
        UnsupportedSetting(
            "target_busy",
            lambda one: one.target_busy != DEFAULT_SETTINGS.target_busy and not one.max_replicas,
            "the number of replicas is fixed: set serving.max_replicas too",
        ),
    )


RULES: dict[HostKind, tuple[UnsupportedSetting, ...]] = {
    HostKind.PROCESS: (
        UnsupportedSetting("replicas", lambda one: one.replicas != DEFAULT_SETTINGS.replicas, _ONE),
        UnsupportedSetting(
            "max_replicas", lambda one: one.max_replicas != DEFAULT_SETTINGS.max_replicas, _ONE
        ),
        UnsupportedSetting("target_busy", lambda one: one.target_busy != DEFAULT_SETTINGS.target_busy, _ONE),
    ),
    HostKind.RAY: (
        *_on_ray(),
        UnsupportedSetting(
            "host",
            lambda one: ":" in one.host,
            "the local Ray listens on IPv4 alone: give such an address, or use serving.runtime 'process'",
        ),
        UnsupportedSetting(
            "replicas",
            lambda one: one.replicas > MAX_LOCAL_REPLICAS,
            f"a local Ray has room for {MAX_LOCAL_REPLICAS}; more run on a cluster (alphaloop serve config)",
        ),
        UnsupportedSetting(
            "max_replicas",
            lambda one: one.max_replicas > MAX_LOCAL_REPLICAS,
            f"a local Ray has room for {MAX_LOCAL_REPLICAS}; more run on a cluster (alphaloop serve config)",
        ),
        UnsupportedSetting(
            "metrics_port",
            lambda one: (
                bool(one.metrics_port) and max(one.replicas, one.max_replicas) > 1 and not has_haproxy()
            ),
            "without HAProxy replicas have no ports of their own: set it to 0, or serving.replicas to 1",
        ),
    ),
    HostKind.CLUSTER: (
        *_on_ray(),
        UnsupportedSetting(
            "host",
            lambda one: one.host not in LOOPBACKS_AND_ALL,
            "on a cluster it listens on all addresses of a node: unset it, and let a network policy guard it",
        ),
        UnsupportedSetting(
            "metrics_port",
            lambda one: one.metrics_port not in (0, DEFAULT_SETTINGS.metrics_port),
            "each replica has the page /metrics on its own HTTP port: unset it",
        ),
    ),
}


def require_supported_settings(serving: ServingSettings, kind: HostKind) -> None:
    """Raise `SettingsError` for a setting that `kind` cannot honour.

    The message names the setting and the way out.
    """
    for rule in RULES[kind]:
        if rule.broken(serving):
            value = getattr(serving, rule.setting)
            raise SettingsError(f"serving.{rule.setting} is {value}, which cannot be: {rule.way_out}")
