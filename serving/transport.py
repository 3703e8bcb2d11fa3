"""One server as the client sees it: a channel to it, how it is secured, and whether to leave it alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alphaloop.breaker import CircuitBreaker
from alphaloop.errors import SettingsError

FAILURES, WINDOW_SECONDS, COOLDOWN_SECONDS = 3, 10.0, 1.0
# A server that comes back is found again soon; gRPC would wait for up to two minutes.
RECONNECT_MS, MOST_RECONNECT_MS = 50, 1_000
UNLIMITED = -1
# Failures of the way to the server, not of the server: who asks again asks for the first time.
LOST = ("UNAVAILABLE", "CANCELLED")
# gRPC's words for a stream that the other side broke off, under statuses that servers use as well.
BROKEN = ("RST_STREAM", "http2 header", "Stream removed", "Connection reset", "GOAWAY")
OVERLOADED, OVERDUE = "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"
PUSHBACK = "grpc-retry-pushback-ms"


@dataclass(frozen=True, slots=True)
class Security:
    """How a client shows who it is and knows whom it asks; nothing of it in clear text.

    `authority` is the PEM file of the CA of the servers' certificates and turns TLS on; `certificate` and
    `key` are the client's own, for mutual TLS. `token` is the file of a bearer token, which
    without TLS would go in clear text, so that it is then sent to loopback only.
    """

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    token: Path | None = None

    def credentials(self) -> Any:
        """Credentials of a gRPC channel; None without TLS. Raises `SettingsError` for a file not read."""
        import grpc

        if self.authority is None:
            return None
        return grpc.ssl_channel_credentials(
            read(self.authority),
            read(self.key) if self.key else None,
            read(self.certificate) if self.certificate else None,
        )

    def metadata(self, url: str) -> tuple[tuple[str, str], ...]:
        """What goes with each call to `url`."""
        if self.token is None:
            return ()
        if self.authority is None and not url.startswith(("127.", "localhost:", "[::1]", "unix:")):
            raise SettingsError(f"a token would go to {url} in clear text; give the authority for TLS")
        return (("authorization", f"Bearer {read(self.token).decode().strip()}"),)


class Server:
    """One server by its `url`; `breaker` says whether to ask it."""

    def __init__(self, url: str, security: Security) -> None:
        import grpc
        from tritonclient.grpc import service_pb2_grpc

        from serving.protocol import messages

        messages()
        options = [
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.min_reconnect_backoff_ms", RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", MOST_RECONNECT_MS),
            ("grpc.max_receive_message_length", UNLIMITED),
            ("grpc.max_send_message_length", UNLIMITED),
            # A second client to the same url must not share a connection that this one has found broken.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        credentials = security.credentials()
        self.url, self.metadata = url, security.metadata(url)
        self.breaker = CircuitBreaker(FAILURES, WINDOW_SECONDS, COOLDOWN_SECONDS)
        self._channel = (
            grpc.insecure_channel(url, options)
            if credentials is None
            else grpc.secure_channel(url, credentials, options)
        )
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()


def is_lost(error: Any) -> bool:
    """Whether `error` (a `grpc.RpcError`) says that the way to the server failed."""
    return error.code().name in LOST or any(word in (error.details() or "") for word in BROKEN)


def pushback(error: Any) -> float | None:
    """Seconds after which an overloaded server wants to be asked again; None where it does not say so."""
    if error.code().name != OVERLOADED:
        return None
    told = dict(error.trailing_metadata() or ()).get(PUSHBACK)
    return int(told) / 1e3 if told is not None and str(told).isdigit() else None


def read(path: Path) -> bytes:
    """The content of a file that a setting names; raises `SettingsError`."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
