"""Settings of clients of the prediction server: `client.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MAX_SECONDS, Section
from alphaloop.settings.environment_variables import parse_list


class ClientSettings(Section):
    """The prediction servers to ask, credentials, and the retry policy."""

    urls: Annotated[tuple[str, ...], BeforeValidator(parse_list)] = Field(
        (),
        description="host:port of each server, as a list or separated by commas; empty uses the "
        "address in `serving`",
    )
    authority: Path | None = Field(
        None,
        description="PEM file of the certificate authority that signed the servers' certificates; "
        "turns TLS on",
    )
    certificate: Path | None = Field(None, description="PEM chain of the client, for mutual TLS")
    key: Path | None = Field(None, description="PEM key of `certificate`")
    token: Path | None = Field(None, description="file that holds the client's bearer token and nothing else")
    deadline_ms: float = Field(
        2_000.0,
        gt=0,
        le=1e3 * MAX_SECONDS,
        description="milliseconds allowed for a response; the executor uses trading.prediction_deadline_ms",
    )
    attempts: int = Field(
        5, ge=1, le=10_000, description="largest number of times a request is sent when the connection fails"
    )
    hedge_ms: float = Field(
        200.0,
        ge=0,
        le=1e3 * MAX_SECONDS,
        description="milliseconds after which an unanswered request is also sent to a second server; "
        "0: never",
    )
    hedge_every: int = Field(
        10, ge=1, description="at most one in so many requests is sent to a second server"
    )
