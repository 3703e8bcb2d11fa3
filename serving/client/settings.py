"""Addresses, security and retries of a client, read from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.settings.client import ClientSettings
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from serving.client.replica import Security
from serving.client.retry_policy import Patience
from serving.protocol.address import address


@dataclass(frozen=True, slots=True)
class Connection:
    """Servers at `urls`, with the client's security, retry settings and default deadline."""

    urls: tuple[str, ...]
    security: Security
    retries: Patience
    deadline_ms: float

    @classmethod
    def from_settings(cls, settings: Settings) -> Connection:
        """Read `settings.client`; without urls, use host and port of `settings.serving`.

        Raises `SettingsError` where that server demands TLS files or a token that the client section lacks.
        """
        client, serving = settings.client, settings.serving
        if not client.urls:
            _require_equipped(client, serving)
        return cls(
            client.urls or (address(serving.host, serving.grpc_port),),
            Security.from_settings(client),
            Patience(hedge_ms=client.hedge_ms, hedge_every=client.hedge_every, attempts=client.attempts),
            client.deadline_ms,
        )

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments for a client."""
        return {"security": self.security, "retries": self.retries, "deadline_ms": self.deadline_ms}


def _require_equipped(client: ClientSettings, serving: ServingSettings) -> None:
    pairs = (
        ("client.authority", client.authority, "serving.tls_certificate", serving.tls_certificate),
        (
            "client.certificate and client.key",
            client.certificate,
            "serving.tls_client_ca",
            serving.tls_client_ca,
        ),
        ("client.token", client.token, "serving.tokens", serving.tokens),
    )
    missing = [
        f"{ours} (as there is {theirs})" for ours, value, theirs, demanded in pairs if demanded and not value
    ]
    if missing:
        raise SettingsError(
            f"the server on {address(serving.host, serving.grpc_port)} asks for what the client lacks: "
            f"set {', '.join(missing)}; for another server set client.urls"
        )
