"""Settings of clients of the server: `client.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from alphaloop.settings.base import MOST_SECONDS, Section
from alphaloop.settings.environment_variables import listed


class ClientSettings(Section):
    """Whom the commands and the executor ask for predictions, and how."""

    urls: Annotated[tuple[str, ...], BeforeValidator(listed)] = Field(
        (), description="host:port of each server, by commas or as a list; empty means that of `serving`"
    )
    authority: Path | None = Field(None, description="PEM of the CA of the servers; turns TLS on")
    certificate: Path | None = Field(None, description="PEM chain of the client, for mutual TLS")
    key: Path | None = Field(None, description="PEM key that belongs to certificate")
    token: Path | None = Field(None, description="file of the client's bearer token, and of nothing else")
    deadline_ms: float = Field(
        2_000.0, gt=0, le=1e3 * MOST_SECONDS, description="time for an answer; the executor has its own"
    )
    attempts: int = Field(
        5, ge=1, le=10_000, description="how often a request may be sent when its way fails"
    )
    hedge_ms: float = Field(
        200.0, ge=0, le=1e3 * MOST_SECONDS, description="a later answer is asked of a second server; 0 never"
    )
    hedge_every: int = Field(10, ge=1, description="one request in so many may be asked a second time")
