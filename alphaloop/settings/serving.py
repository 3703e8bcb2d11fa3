"""Settings of the prediction server: `serving.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MAX_DAYS, MAX_SECONDS, Section
from alphaloop.settings.storage import Location


def _unbracketed(value: Any) -> Any:
    """Strip the brackets that an IPv6 address has in URLs."""
    return value[1:-1] if isinstance(value, str) and value.startswith("[") and value.endswith("]") else value


class ServingSettings(Section):
    """Addresses, host, credentials, limits and log of the prediction server."""

    host: Annotated[str, BeforeValidator(_unbracketed)] = Field(
        "127.0.0.1", description="address that the server listens on"
    )
    grpc_port: int = Field(8001, ge=1, le=65535, description="port of gRPC")
    model: str = Field("equities", description="name of the model to serve")
    runtime: Literal["ray", "process"] = Field(
        "ray", description="host of the server: `ray` (Ray Serve) or `process` (one process without Ray)"
    )
    poll_seconds: float = Field(
        1.0, gt=0, le=3_600, description="seconds after which the rollout document is read again"
    )
    allow_drills: bool = Field(False, description="honour fault injection requested by a rollout's override")
    http_port: int = Field(
        8000, ge=0, le=65535, description="port of HTTP; 0 serves none (only with runtime `process`)"
    )
    metrics_port: int = Field(8002, ge=0, le=65535, description="port of Prometheus metrics; 0 serves none")
    tls_certificate: Path | None = Field(
        None, description="PEM certificate chain of the server (runtime `process`); turns TLS on"
    )
    tls_key: Path | None = Field(None, description="PEM key of `tls_certificate`")
    tls_client_ca: Path | None = Field(
        None,
        description="PEM file of the authority that signed the clients' certificates; turns mutual TLS on",
    )
    tokens: Path | None = Field(
        None,
        description="file of bearer tokens, one line each: client, scopes (predict,admin), token or sha256:…",
    )
    rate_limit: float = Field(
        0.0, ge=0, le=1e9, description="requests a second allowed per client; 0 sets no limit"
    )
    rate_burst: int = Field(
        100, ge=1, le=10**9, description="requests that a client may send at once before rate_limit applies"
    )
    max_in_flight: int = Field(
        64,
        ge=1,
        le=100_000,
        description="largest number of requests in progress or queued; further requests are refused "
        "immediately",
    )
    batch_symbols: int = Field(
        64,
        ge=0,
        le=10**6,
        description="largest number of symbols scored in one model run over waiting requests; 0: no batching",
    )
    max_request_bytes: int = Field(
        16 * 2**20,
        ge=1024,
        le=2**30,
        description="largest size of a request in bytes; a larger request is refused",
    )
    drain_seconds: float = Field(
        5.0,
        ge=0,
        le=3_600,
        description="seconds for which a server (runtime `process`) answers on after SIGTERM, while it "
        "reports that it is not ready",
    )
    log_location: Location = Field(
        "",
        description="folder or s3://bucket/prefix of the prediction log; empty means the one that `storage` "
        "names",
    )
    log_retention_days: int = Field(
        0, ge=0, le=MAX_DAYS, description="days for which the prediction log is kept; 0 keeps all"
    )
    log_max_bytes: int = Field(
        16 * 2**30,
        ge=0,
        le=2**50,
        description="bytes of the prediction log on disk, above which the oldest rows are deleted; 0 "
        "sets no limit",
    )
    replicas: int = Field(
        1, ge=1, le=10_000, description="replicas of the Ray host; the smallest number if max_replicas is set"
    )
    max_replicas: int = Field(
        0, ge=0, le=10_000, description="largest number of replicas of the Ray host; 0: always `replicas`"
    )
    target_busy: float = Field(
        0.6,
        gt=0,
        le=1,
        description="target of scaling: the average share of a core that a replica uses",
    )
    breaker_failures: int = Field(
        5, ge=1, le=10_000, description="failures after which the circuit breaker of a model version opens"
    )
    breaker_seconds: float = Field(
        10.0,
        gt=0,
        le=MAX_SECONDS,
        description="seconds within which failures are counted, and for which the circuit breaker stays open",
    )
    slow_ms: float = Field(
        250.0,
        gt=0,
        le=1e3 * MAX_SECONDS,
        description="scoring time, in milliseconds, above which a model version counts as slow; the "
        "circuit breaker opens if most runs are",
    )
    last_good_seconds: float = Field(
        3600.0,
        ge=0,
        le=MAX_SECONDS,
        description="seconds for which the last good scores may be returned, marked stale; 0: never",
    )
    signing_key: Path | None = Field(
        None,
        description="PEM file of an Ed25519 public key; model versions that are not signed with its "
        "private key are refused",
    )
