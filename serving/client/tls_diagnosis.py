"""Diagnosis of failed TLS handshakes: the cause, and the setting that mends it.

gRPC reports one status for a server that is away, for a server that speaks TLS to a client in clear text,
and for a server that wants a certificate which the client lacks; the last two even share one message, as
gRPC's servers close the connection without an alert. So the handshake is repeated here with OpenSSL, and no
request is sent.
"""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterable
from typing import Any

from alphaloop.clock import monotonic
from alphaloop.errors import SettingsError, TlsError
from serving.client.grpc_errors import UNAVAILABLE
from serving.client.replica import HTTP2_ALPN, ClientSecurity

MAX_WAIT_SECONDS = 1.0
# First bytes of an HTTP/2 client: the preface and empty settings (RFC 9113, section 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
# Index and value of a frame's type, which identify a server's settings frame (section 4.1).
FRAME_TYPE, SETTINGS = 3, 4
# OpenSSL's X509_V_ERR_… for dates, and for mismatched host names and addresses.
OUT_OF_DATE, NAME_MISMATCH = (9, 10), (62, 64)
# Alerts (RFC 8446, section 6.2) with which a server refuses a missing or wrong client certificate.
ALERT, REFUSALS = "ALERT", ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
# gRPC's messages for a failed handshake, whatever the reason.
HANDSHAKE_FAILURE_TEXTS = ("handshake failed", "verification check failed", "cannot check peer")


def require_tls_agreement(security: ClientSecurity, failures: Iterable[tuple[str, Any]]) -> None:
    """Raise `TlsError` for the first reachable server with other TLS settings.

    `failures` are pairs of a url and its `grpc.RpcError`. Blocks as `explain_tls_mismatch` does.
    """
    for url, error in failures:
        explanation = None if error is None else explain_tls_mismatch(url, security, error)
        if explanation is not None:
            raise TlsError(f"{url} {explanation}") from error


def explain_tls_mismatch(
    url: str, security: ClientSecurity, error: Any, seconds: float = math.inf
) -> str | None:
    """Explain a TLS mismatch with the server at `url`; None if there is none.

    `error` is the `grpc.RpcError` of a call. The text names the setting that mends the mismatch. Blocks for
    some milliseconds, for a second where a server accepts a connection and sends nothing, and for `seconds`
    at most.
    """
    if error.code().name != UNAVAILABLE:
        return None
    explanation = _explain(url, security, monotonic() + seconds)
    if explanation is None and any(
        words in (error.details() or "").lower() for words in HANDSHAKE_FAILURE_TEXTS
    ):
        return (
            f"and the client do not agree on TLS ({error.details()}); look at client.authority, "
            "client.certificate and the name in client.urls"
        )
    return explanation


def _explain(url: str, security: ClientSecurity, until: float) -> str | None:
    """Explain the TLS mismatch; None if there is none, or the server cannot be reached."""
    host, _, port = url.rpartition(":")
    if not port.isdigit() or "/" in host:
        # A Unix socket, or a name that only gRPC can resolve.
        return None
    address = (host.strip("[]"), int(port))
    try:
        if security.authority is None:
            return _explain_clear_client(address, until)
        return _explain_tls_client(address, security, until)
    except (OSError, ValueError, OverflowError, SettingsError):
        # Server away or silent, invalid address, or a client file gone: gRPC's message has to do.
        return None


def _explain_clear_client(address: tuple[str, int], until: float) -> str | None:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The server's identity does not matter: nothing is sent over this connection.
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols([HTTP2_ALPN])
    try:
        with _handshake(address, anybody, until):
            pass
    except ssl.SSLError as error:
        if ALERT not in (error.reason or ""):
            return None
    return "speaks TLS, and the client clear text; set client.authority to the CA of its certificate"


def _explain_tls_client(address: tuple[str, int], security: ClientSecurity, until: float) -> str | None:
    try:
        connection = _handshake(address, security.context(), until)
    except ssl.SSLCertVerificationError as error:
        return _explain_server_certificate(error, security)
    except (ssl.SSLError, ConnectionError) as error:
        if _refuses(error):
            return _explain_client_certificate(security)
        if _speaks_clear_text(address, until):
            return "speaks clear text, and the client TLS; unset client.authority, or set serving.tls_… there"
        return None
    with connection:
        if connection.selected_alpn_protocol() != HTTP2_ALPN:
            return "speaks TLS, but not gRPC; name the port of gRPC in client.urls"
        try:
            connection.settimeout(_remaining_seconds(until))
            connection.sendall(PREFACE)
            if connection.recv(1):
                return None
        except (ssl.SSLError, ConnectionError) as error:
            if _refuses(error):
                return _explain_client_certificate(security)
    return _explain_client_certificate(security) if _demands_certificate(address, security, until) else None


def _explain_server_certificate(error: ssl.SSLCertVerificationError, security: ClientSecurity) -> str:
    text = error.verify_message.rstrip(".")
    if error.verify_code in OUT_OF_DATE:
        return f"has a certificate that is out of date ({text}); renew serving.tls_certificate there"
    if error.verify_code in NAME_MISMATCH:
        return f"has the certificate of another ({text}); name it in client.urls as its certificate does"
    return (
        f"has a certificate that client.authority does not vouch for ({text}); {security.authority} must be "
        "the PEM of the CA that signed it"
    )


def _explain_client_certificate(security: ClientSecurity) -> str:
    if security.certificate is None:
        return "asks for a client's certificate; set client.certificate and client.key"
    return (
        f"does not accept client.certificate ({security.certificate}); it must be in date, and signed by "
        "the CA of serving.tls_client_ca there"
    )


def _demands_certificate(address: tuple[str, int], security: ClientSecurity, until: float) -> bool:
    """Return whether the server closed the connection for want of a client certificate.

    The other reason would be that it shuts down. In TLS 1.2 the client's certificate is part of the
    handshake, which therefore fails without one.
    """
    context = security.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        with _handshake(address, context, until):
            return False
    except (ssl.SSLEOFError, ConnectionResetError):
        return True
    except ssl.SSLError as error:
        # OpenSSL's servers send only this alert to a client without a certificate.
        return _refuses(error) or "ALERT_HANDSHAKE_FAILURE" in (error.reason or "")


def _speaks_clear_text(address: tuple[str, int], until: float) -> bool:
    """Return whether the server speaks HTTP/2 in clear text."""
    try:
        with socket.create_connection(address, _remaining_seconds(until)) as connection:
            connection.sendall(PREFACE)
            reply = connection.recv(FRAME_TYPE + 1)
    except OSError:
        return False
    return len(reply) > FRAME_TYPE and reply[FRAME_TYPE] == SETTINGS


def _handshake(address: tuple[str, int], context: ssl.SSLContext, until: float) -> ssl.SSLSocket:
    """Return a connection whose handshake is complete."""
    connection = socket.create_connection(address, _remaining_seconds(until))
    try:
        connection.settimeout(_remaining_seconds(until))
        return context.wrap_socket(connection, server_hostname=address[0])
    except BaseException:
        connection.close()
        raise


def _remaining_seconds(until: float) -> float:
    """Return the seconds that the next wait may take. Raises `TimeoutError` if none are left."""
    seconds = min(MAX_WAIT_SECONDS, until - monotonic())
    if seconds <= 0:
        raise TimeoutError("no time is left to shake hands")
    return seconds


def _refuses(error: OSError) -> bool:
    reason = getattr(error, "reason", None) or ""
    return ALERT in reason and any(words in reason for words in REFUSALS)
