"""Certificates and keys in PEM, checked by OpenSSL before gRPC uses them.

gRPC would only fail to connect, or to bind. Errors are `SettingsError`, name the setting and the file, and
show nothing of its content.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alphaloop.errors import SettingsError

Held = TypeVar("Held")


def read_pem(path: Path, setting: str) -> bytes:
    """Return the content of the file that `setting` names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} names {path}, which cannot be read: {error.strerror}") from error


def load_trusted_authorities(context: ssl.SSLContext, path: Path, setting: str) -> None:
    """Let `context` trust certificates that the authorities in the file have signed."""
    try:
        # Text that is not ASCII can only be a comment between certificates.
        context.load_verify_locations(cadata=read_pem(path, setting).decode("ascii", "ignore"))
    except (ValueError, ssl.SSLError):
        raise SettingsError(f"{setting} names {path}, which holds no certificates in PEM") from None


def load_own_certificate(
    context: ssl.SSLContext, chain: Path, key: Path | None, settings: tuple[str, str]
) -> None:
    """Let `context` present the certificate in `chain`, with its `key`."""
    try:
        # OpenSSL would ask the terminal for a pass phrase, and gRPC accepts none.
        context.load_cert_chain(chain, key, password="")
    except (ValueError, OSError):
        raise SettingsError(
            f"{' and '.join(settings)} name {chain} and {key}, which are not a certificate in PEM and the "
            "key that belongs to it, without a pass phrase"
        ) from None


def read_checked(
    contents: Callable[[], Held], context: Callable[[], ssl.SSLContext], what: str
) -> tuple[Held, ssl.SSLContext]:
    """Return the `contents` of files, and the OpenSSL `context` built from the same bytes.

    So gRPC gets exactly the bytes that OpenSSL has checked.
    """
    content = contents()
    built = context()
    if contents() != content:
        raise SettingsError(f"{what} was replaced while it was read")
    return content, built
