"""TLS of the process host: its certificate, and the clients' authority for mutual TLS.

The files may be replaced while the server runs, as mounted secrets are: a connection made within a second of
that may still get the old certificate, each later one gets the new. Open connections continue.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.settings.serving import ServingSettings
from serving.security import pem
from serving.security.reloadable_file import ReloadableFile

CHAIN, KEY, CLIENT_CA = (f"serving.tls_{name}" for name in ("certificate", "key", "client_ca"))


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """Server certificate and key and the clients' authority, in PEM and as an OpenSSL context."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files of a server: certificate chain, key, and the clients' authority.

    With `client_ca` only clients with a certificate of that authority are answered.
    """

    chain: Path
    key: Path
    client_ca: Path | None

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> CertificateFiles | None:
        """Return the settings' files; None without TLS. Raises `SettingsError` for an incomplete set."""
        chain, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
        named = {CHAIN: chain, KEY: key, CLIENT_CA: client_ca}
        if chain is None or key is None:
            names = [name for name, file in named.items() if file is not None]
            if names:
                raise SettingsError(f"{' and '.join(names)} given alone; set {CHAIN} and {KEY}")
            return None
        for name, file in named.items():
            if file is not None and not file.is_file():
                raise SettingsError(f"{name} names {file}, which is not a file")
        return cls(chain, key, client_ca)

    def read(self) -> ServerIdentity:
        """Read and check the files; raise `SettingsError`, without their content, if they cannot be used."""
        held, context = pem.read_checked(self._contents, self._context, f"{self.chain} or {self.key}")
        return ServerIdentity(*held, context)

    def _contents(self) -> tuple[bytes, bytes, bytes | None]:
        return (
            pem.read_pem(self.chain, CHAIN),
            pem.read_pem(self.key, KEY),
            pem.read_pem(self.client_ca, CLIENT_CA) if self.client_ca else None,
        )

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem.load_own_certificate(context, self.chain, self.key, (CHAIN, KEY))
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            pem.load_trusted_authorities(context, self.client_ca, CLIENT_CA)
        return context


class ServerCertificates:
    """Certificates of a server, reloaded when `files` are replaced. Thread-safe.

    Raises `SettingsError` for files that cannot be used. Later, a half-replaced set leaves the last good one
    in use, and the log says so.
    """

    def __init__(self, files: CertificateFiles) -> None:
        others = [file for file in (files.key, files.client_ca) if file is not None]
        self._mutual = files.client_ca is not None
        self._identity = ReloadableFile(files.chain, lambda _: files.read(), also_read=others)

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> ServerCertificates | None:
        """Build the certificates of the settings; None without TLS."""
        files = CertificateFiles.from_settings(settings)
        return None if files is None else cls(files)

    def for_grpc(self) -> Any:
        """Return credentials of a gRPC server, which asks for newer ones with each connection."""
        import grpc

        used = self._identity.current()

        def renewed() -> Any:
            nonlocal used
            current = self._identity.current()
            if current is used:
                # None keeps the present ones; anything else would be prepared anew for each connection.
                return None
            used = current
            return _configuration(current)

        return grpc.dynamic_ssl_server_credentials(_configuration(used), renewed, self._mutual)

    def for_https(self) -> ssl.SSLContext:
        """Return the context of an HTTPS server; each connection uses the certificates of its moment."""
        context = _ReloadingContext(ssl.PROTOCOL_TLS_SERVER)
        context.identity = self._identity
        return context


class _ReloadingContext(ssl.SSLContext):
    """Context that delegates each connection to the current context.

    Loading into a context that is in use, or swapping it when the client names the server, would keep its
    sessions and authorities: a client that is no longer trusted could resume a session.
    """

    identity: ReloadableFile[ServerIdentity]

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Delegate to the current context. Event loops make their connections by this method alone."""
        return self.identity.current().context.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Delegate to the current context."""
        return self.identity.current().context.wrap_socket(*arguments, **options)


def _configuration(identity: ServerIdentity) -> Any:
    """Build gRPC's certificates anew: gRPC takes ownership, so one object can be passed only once."""
    import grpc

    return grpc.ssl_server_certificate_configuration([(identity.key, identity.chain)], identity.client_ca)
