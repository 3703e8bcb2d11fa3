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
from alphaloop.settings import ServingSettings
from serving.secret_file import SecretFile


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
        named = {"tls_certificate": chain, "tls_key": key, "tls_client_ca": client_ca}
        if chain is None or key is None:
            given = [f"serving.{name}" for name, file in named.items() if file is not None]
            if given:
                raise SettingsError(
                    f"{' and '.join(given)} given alone; set serving.tls_certificate and serving.tls_key"
                )
            return None
        for name, file in named.items():
            if file is not None and not file.is_file():
                raise SettingsError(f"serving.{name} names {file}, which is not a file")
        return cls(chain, key, client_ca)

    def read(self) -> Identity:
        """What the files hold; raises `SettingsError`, which shows nothing of it, where that cannot be used.

        gRPC itself would say no more than that a port cannot be bound.
        """
        chain, key, client_ca = held = self._contents()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            # OpenSSL would ask the terminal for a pass phrase, and gRPC cannot be told one.
            context.load_cert_chain(self.chain, self.key, password="")
        except (ValueError, OSError):
            # The cause is left out here and below: a decoding error carries the file's bytes.
            raise SettingsError(
                f"serving.tls_certificate and serving.tls_key name {self.chain} and {self.key}, which "
                "are not a certificate in PEM and the key that belongs to it, without a pass phrase"
            ) from None
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            try:
                context.load_verify_locations(cadata=client_ca.decode("ascii"))
            except (ValueError, ssl.SSLError):
                raise SettingsError(
                    f"serving.tls_client_ca names {self.client_ca}, which holds no certificates in PEM"
                ) from None
        if self._contents() != held:
            # OpenSSL has read the files once more than we have, and gRPC gets what we have.
            raise SettingsError(f"{self.chain} or {self.key} was replaced while it was read")
        return Identity(chain, key, client_ca, context)

    def _contents(self) -> tuple[bytes, bytes, bytes | None]:
        return (
            _content(self.chain, "tls_certificate"),
            _content(self.key, "tls_key"),
            _content(self.client_ca, "tls_client_ca") if self.client_ca else None,
        )


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


def _content(file: Path, setting: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"serving.{setting} names {file}, which cannot be read ({error.strerror})"
        ) from error
