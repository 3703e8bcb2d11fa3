"""Settings of the server: `serving.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MOST_DAYS, MOST_SECONDS, Section


def _unbracketed(value: Any) -> Any:
    """An address without the brackets that IPv6 has in URLs."""
    return value[1:-1] if isinstance(value, str) and value.startswith("[") and value.endswith("]") else value


class ServingSettings(Section):
    """Where and how predictions are served."""

    host: Annotated[str, BeforeValidator(_unbracketed)] = "127.0.0.1"
    grpc_port: int = Field(8001, ge=1, le=65535)
    model: str = "equities"
    runtime: Literal["ray", "process"] = "ray"
    poll_seconds: float = Field(
        1.0, gt=0, le=3_600, description="age at which the rollout document is read again"
    )
    allow_drills: bool = Field(False, description="honour fault injection by a rollout's override")
    http_port: int = Field(8000, ge=0, le=65535, description="HTTP; 0 serves none, in one process only")
    metrics_port: int = Field(8002, ge=0, le=65535, description="Prometheus metrics; 0 serves none")
    tls_certificate: Path | None = Field(None, description="PEM chain of the process host; turns TLS on")
    tls_key: Path | None = Field(None, description="PEM key that belongs to tls_certificate")
    tls_client_ca: Path | None = Field(None, description="PEM of the CA of client certificates; mutual TLS")
    tokens: Path | None = Field(
        None,
        description="file of bearer tokens, a line each: client, scopes (predict,admin), token or sha256:…",
    )
    rate_limit: float = Field(
        0.0, ge=0, le=1e9, description="requests a second of each client; 0 sets no limit"
    )
    rate_burst: int = Field(100, ge=1, le=10**9, description="requests that a client may send at once")
    max_in_flight: int = Field(
        64, ge=1, le=100_000, description="requests held at once; more are refused at once"
    )
    batch_symbols: int = Field(
        64,
        ge=0,
        le=10**6,
        description="most symbols of requests that wait at once to score in one run; 0: each alone",
    )
    max_request_bytes: int = Field(16 * 2**20, ge=1024, le=2**30, description="a larger request is refused")
    log_retention_days: int = Field(
        0, ge=0, le=MOST_DAYS, description="days the prediction log keeps; 0 keeps all"
    )
    log_max_bytes: int = Field(
        16 * 2**30,
        ge=0,
        le=2**50,
        description="bytes that the prediction log may have on disk, the oldest go first; 0 sets no limit",
    )
    replicas: int = Field(
        1, ge=1, le=10_000, description="replicas of the Ray host; the least where it may scale"
    )
    max_replicas: int = Field(
        0, ge=0, le=10_000, description="most replicas of the Ray host; 0: their number is fixed"
    )
    target_busy: float = Field(0.6, gt=0, le=1, description="share of a core a replica may use on average")
    breaker_failures: int = Field(
        5, ge=1, le=10_000, description="failures of a version before it is left alone"
    )
    breaker_seconds: float = Field(
        10.0, gt=0, le=MOST_SECONDS, description="how long they count, and it is left alone"
    )
    slow_ms: float = Field(
        250.0,
        gt=0,
        le=1e3 * MOST_SECONDS,
        description="a version whose scoring mostly takes longer is left alone",
    )
    last_good_seconds: float = Field(
        3600.0,
        ge=0,
        le=MOST_SECONDS,
        description="how long the last good scores may answer, marked stale; 0 never",
    )
    signing_key: Path | None = Field(
        None, description="PEM of the Ed25519 public key; a version that is not signed with it is refused"
    )
