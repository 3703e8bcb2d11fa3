"""Addresses, security and retries of a client, read from the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.settings.client import ClientSettings
from alphaloop.settings.serving import ServingSettings
from alphaloop.settings.settings import Settings
from serving.client.replica import ClientSecurity
from serving.client.retry_policy import RetrySettings
from serving.protocol.address import format_address


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Servers at `urls`, with the client's security, retry settings and default deadline."""

    urls: tuple[str, ...]
    security: ClientSecurity
    retries: RetrySettings
    deadline_ms: float

    @classmethod
    def from_settings(cls, settings: Settings) -> ConnectionSettings:
        """Read `settings.client`; without urls, use host and port of `settings.serving`.

        Raises `SettingsError` where that server demands TLS files or a token that the client section lacks.
        """
        client, serving = settings.client, settings.serving
        if not client.urls:
            _require_equipped(client, serving)
        return cls(
            client.urls or (format_address(serving.host, serving.grpc_port),),
            ClientSecurity.from_settings(client),
            RetrySettings(hedge_ms=client.hedge_ms, hedge_every=client.hedge_every, attempts=client.attempts),
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
            f"the server on {format_address(serving.host, serving.grpc_port)} asks for what the client "
            f"lacks: set {', '.join(missing)}; for another server set client.urls"
        )
