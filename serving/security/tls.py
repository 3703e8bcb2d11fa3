"""TLS of the process host: its certificate, and the authority of its clients' for mutual TLS.

The files may be replaced while the server runs, as mounted secrets are: a connection made within a second of
that may still have the old ones, each later one has the new. Connections that are there go on.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.settings.serving import ServingSettings
from serving.security import pem
from serving.security.reloadable_file import SecretFile

CHAIN, KEY, CLIENT_CA = (f"serving.tls_{name}" for name in ("certificate", "key", "client_ca"))


@dataclass(frozen=True, slots=True)
class Identity:
    """What the files held: our chain and key in PEM, that of the clients' authority, and OpenSSL's of it."""

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    context: ssl.SSLContext = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """PEM files: our chain and key, and with `client_ca` only clients that it has signed are answered."""

    chain: Path
    key: Path
    client_ca: Path | None

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> CertificateFiles | None:
        """The files of the settings; None without TLS. Raises `SettingsError` for half a set."""
        chain, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
        named = {CHAIN: chain, KEY: key, CLIENT_CA: client_ca}
        if chain is None or key is None:
            given = [name for name, file in named.items() if file is not None]
            if given:
                raise SettingsError(f"{' and '.join(given)} given alone; set {CHAIN} and {KEY}")
            return None
        for name, file in named.items():
            if file is not None and not file.is_file():
                raise SettingsError(f"{name} names {file}, which is not a file")
        return cls(chain, key, client_ca)

    def read(self) -> Identity:
        """What the files hold; raises `SettingsError`, which shows none of it, where it cannot be used."""
        held, context = pem.checked(self._contents, self._context, f"{self.chain} or {self.key}")
        return Identity(*held, context)

    def _contents(self) -> tuple[bytes, bytes, bytes | None]:
        return (
            pem.read(self.chain, CHAIN),
            pem.read(self.key, KEY),
            pem.read(self.client_ca, CLIENT_CA) if self.client_ca else None,
        )

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem.show(context, self.chain, self.key, (CHAIN, KEY))
        if self.client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            pem.trust(context, self.client_ca, CLIENT_CA)
        return context


class Certificates:
    """The certificates of a server: those of `files`, and what they are replaced with. Threads may share it.

    Raises `SettingsError` for files that cannot be used; once it is made, a set that is half replaced leaves
    the last good one in use, and the log says so.
    """

    def __init__(self, files: CertificateFiles) -> None:
        others = [file for file in (files.key, files.client_ca) if file is not None]
        self._mutual = files.client_ca is not None
        self._identity = SecretFile(files.chain, lambda _: files.read(), beside=others)

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> Certificates | None:
        """The certificates of the settings; None without TLS."""
        files = CertificateFiles.from_settings(settings)
        return None if files is None else cls(files)

    def for_grpc(self) -> Any:
        """Credentials of a gRPC server, which asks with each new connection whether there are others."""
        import grpc

        shown = self._identity.current()

        def renewed() -> Any:
            nonlocal shown
            current = self._identity.current()
            if current is shown:
                # None keeps what there is: anything else would be made ready for each connection anew.
                return None
            shown = current
            return _configuration(current)

        return grpc.dynamic_ssl_server_credentials(_configuration(shown), renewed, self._mutual)

    def for_https(self) -> ssl.SSLContext:
        """The context of an HTTPS server: each connection is made with the certificates of its moment."""
        context = _RenewedContext(ssl.PROTOCOL_TLS_SERVER)
        context.identity = self._identity
        return context


class _RenewedContext(ssl.SSLContext):
    """A context that leaves each connection to the one that is current.

    Loading into a context that is in use, or swapping it when the client names the server, would keep its
    sessions and authorities: a client that is not trusted any more could resume one.
    """

    identity: SecretFile[Identity]

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """As the current context does. Event loops make their connections by this alone."""
        return self.identity.current().context.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """As the current context does."""
        return self.identity.current().context.wrap_socket(*arguments, **options)


def _configuration(identity: Identity) -> Any:
    """The same for gRPC, which takes one away from who gives it: it can be given once."""
    import grpc

    return grpc.ssl_server_certificate_configuration([(identity.key, identity.chain)], identity.client_ca)
