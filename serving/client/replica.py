"""One replica as the client sees it: security, call metadata and circuit breaker."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alphaloop.errors import SettingsError
from alphaloop.runtime.circuit_breaker import CircuitBreaker
from alphaloop.settings.client import ClientSettings
from alphaloop.telemetry import tracing
from serving.client.channel import Channel, Credentials
from serving.security import pem
from serving.security.access import is_loopback
from serving.security.reloadable_file import ReloadableFile

if TYPE_CHECKING:
    import ssl

CallMetadata = tuple[tuple[str, str], ...]

BREAKER_FAILURES, BREAKER_WINDOW_SECONDS, BREAKER_COOLDOWN_SECONDS = 3, 10.0, 1.0
AUTHORITY_SETTING, CERTIFICATE_SETTING, KEY_SETTING = "client.authority", "client.certificate", "client.key"
# Protocol name with which TLS negotiates HTTP/2 (RFC 7301).
HTTP2_ALPN = "h2"
# gRPC refuses anything else in metadata, and its error message would show the token.
_TOKEN = re.compile(rb"[!-~]+")


@dataclass(frozen=True, slots=True)
class ClientSecurity:
    """Files with which a client authenticates itself and verifies servers.

    Parameters
    ----------
    authority : Path, optional
        PEM file of the CA that signed the servers' certificates; turns TLS on.
    certificate, key : Path, optional
        PEM files of the client's own certificate and private key, for mutual TLS.
    token : Path, optional
        File of a bearer token. Without TLS a token is sent to loopback addresses only, because it would
        cross the network in clear text.

    Examples
    --------
    >>> ClientSecurity().credentials() is None
    True
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: Path | None = None

    @classmethod
    def from_settings(cls, settings: ClientSettings) -> ClientSecurity:
        """Build the value from the client section of the settings."""
        return cls(settings.authority, settings.certificate, settings.key, settings.token)

    def credentials(self) -> ReloadableFile[Credentials] | None:
        """Return reloadable credentials for gRPC channels; None without TLS.

        Raises
        ------
        SettingsError
            If only one of certificate and key is set, or a file cannot be read or does not hold what it
            should; gRPC itself would only fail to connect.
        """
        if (self.certificate is None) != (self.key is None):
            name = "certificate" if self.key is None else "key"
            raise SettingsError(f"client.{name} is given alone; set client.certificate and client.key")
        if self.authority is None:
            if self.certificate is not None:
                raise SettingsError("client.certificate is of no use without TLS; set client.authority")
            return None
        others = [file for file in (self.certificate, self.key) if file is not None]
        return ReloadableFile(self.authority, self._credentials, others)

    def bearer(self, urls: Iterable[str]) -> ReloadableFile[CallMetadata] | None:
        """Return the token as reloadable metadata of each call to `urls`; None without a token.

        Raises
        ------
        SettingsError
            If the file holds no token, or the token would cross the network in clear text. The message never
            holds the token.
        """
        if self.token is None:
            return None
        for url in urls:
            host = url.rpartition(":")[0].strip("[]")
            if self.authority is None and not (url.startswith("unix:") or is_loopback(host)):
                raise SettingsError(f"a token would go to {url} in clear text; set client.authority for TLS")
        return ReloadableFile(self.token, _read_bearer)

    def context(self) -> ssl.SSLContext:
        """Return an OpenSSL context with these files and HTTP/2.

        Raises
        ------
        SettingsError
            If a file cannot be used.
        """
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols([HTTP2_ALPN])
        if self.authority is not None:
            pem.load_trusted_authorities(context, self.authority, AUTHORITY_SETTING)
        if self.certificate is not None:
            pem.load_own_certificate(context, self.certificate, self.key, (CERTIFICATE_SETTING, KEY_SETTING))
        return context

    def _credentials(self, authority: Path) -> Credentials:
        import grpc

        def contents() -> tuple[bytes, bytes | None, bytes | None]:
            return (
                pem.read_pem(authority, AUTHORITY_SETTING),
                pem.read_pem(self.certificate, CERTIFICATE_SETTING) if self.certificate else None,
                pem.read_pem(self.key, KEY_SETTING) if self.key else None,
            )

        description = f"a file of {AUTHORITY_SETTING}, {CERTIFICATE_SETTING} and {KEY_SETTING}"
        (trusted, certificate, key), _ = pem.read_checked(contents, self.context, description)
        return Credentials(trusted, certificate, key, grpc.ssl_channel_credentials(trusted, key, certificate))


class Replica:
    """One server at `url`; `breaker` says whether it may be sent requests.

    `credentials` and `bearer` come from a `ClientSecurity`. An asynchronous server belongs to the event loop
    in which it is made, and its `close` is awaited.
    """

    def __init__(
        self,
        url: str,
        credentials: ReloadableFile[Credentials] | None,
        bearer: ReloadableFile[CallMetadata] | None,
        asynchronous: bool,
    ) -> None:
        from serving.protocol.messages import protobuf_messages

        protobuf_messages()
        self.url = url
        # Decided here once, so that calls without a token do not pay for the check.
        self._metadata: Callable[[], CallMetadata] = (
            _trace_metadata if bearer is None else lambda: bearer.current() + _trace_metadata()
        )
        self.breaker = CircuitBreaker(BREAKER_FAILURES, BREAKER_WINDOW_SECONDS, BREAKER_COOLDOWN_SECONDS)
        self._channel = Channel(url, credentials, asynchronous)

    def call(self, method: str, request: Any, seconds: float) -> Any:
        """Call `method` and block for at most `seconds`. Raises `grpc.RpcError`.

        Each call carries the token and the trace context of the current span.
        """
        return self._channel.call(method, request, timeout=seconds, metadata=self._metadata())

    def start_call(self, method: str, request: Any, seconds: float) -> Any:
        """Start the same call: returns a gRPC future, or an awaitable on an event loop."""
        return self._channel.start_call(method, request, timeout=seconds, metadata=self._metadata())

    def close(self) -> Any:
        """Close the connection."""
        return self._channel.close()


def _read_bearer(path: Path) -> CallMetadata:
    token = pem.read_pem(path, "client.token").strip()
    if not _TOKEN.fullmatch(token):
        raise SettingsError(
            f"client.token names {path}, which does not hold a token: one word, in ASCII, and nothing else"
        )
    return (("authorization", f"Bearer {token.decode()}"),)


def _trace_metadata() -> CallMetadata:
    parent = tracing.current_traceparent()
    return () if parent is None else ((tracing.TRACEPARENT, parent),)
