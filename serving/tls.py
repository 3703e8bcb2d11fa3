"""TLS of the process host: its certificate, and the authority of its clients' for mutual TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: our chain and key, and with `client_ca` only clients that it has signed are answered."""

    chain: Path
    key: Path
    client_ca: Path | None

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> Certificates | None:
        """The certificates of the settings; None without TLS. Raises `SettingsError` for half a set."""
        chain, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
        if chain is None or key is None:
            given = [
                name
                for name, value in (
                    ("serving.tls_certificate", chain),
                    ("serving.tls_key", key),
                    ("serving.tls_client_ca", client_ca),
                )
                if value is not None
            ]
            if given:
                raise SettingsError(
                    f"{' and '.join(given)} given alone; set serving.tls_certificate and serving.tls_key"
                )
            return None
        for name, file in (("certificate", chain), ("key", key), ("client_ca", client_ca)):
            if file is not None and not file.is_file():
                raise SettingsError(f"serving.tls_{name} names {file}, which is not a file")
        return cls(chain, key, client_ca)

    def for_grpc(self) -> Any:
        """Credentials of a gRPC server; raises `SettingsError` where a file cannot be read."""
        import grpc

        try:
            pair = (self.key.read_bytes(), self.chain.read_bytes())
            authority = self.client_ca.read_bytes() if self.client_ca else None
        except OSError as error:
            raise SettingsError(
                f"{error.filename} of serving.tls_… cannot be read ({error.strerror})"
            ) from error
        return grpc.ssl_server_credentials(
            [pair], root_certificates=authority, require_client_auth=authority is not None
        )

    def for_uvicorn(self) -> dict[str, Any]:
        """The arguments of `uvicorn.Config`."""
        import ssl

        options: dict[str, Any] = {"ssl_certfile": str(self.chain), "ssl_keyfile": str(self.key)}
        if self.client_ca is not None:
            options |= {"ssl_ca_certs": str(self.client_ca), "ssl_cert_reqs": int(ssl.CERT_REQUIRED)}
        return options
