"""Files of certificates and keys in PEM, as OpenSSL takes them: gRPC would only fail to connect, or to bind.

Errors are `SettingsError`, name the setting and the file, and show nothing of what it holds.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from alphaloop.errors import SettingsError

Held = TypeVar("Held")


def read(path: Path, setting: str) -> bytes:
    """The content of the file that `setting` names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{setting} names {path}, which cannot be read: {error.strerror}") from error


def trust(context: ssl.SSLContext, path: Path, setting: str) -> None:
    """Let `context` trust whom the certificates in the file have signed."""
    try:
        # What is not ASCII is a remark between certificates, or there are none.
        context.load_verify_locations(cadata=read(path, setting).decode("ascii", "ignore"))
    except (ValueError, ssl.SSLError):
        raise SettingsError(f"{setting} names {path}, which holds no certificates in PEM") from None


def show(context: ssl.SSLContext, chain: Path, key: Path | None, settings: tuple[str, str]) -> None:
    """Let `context` show the certificate in `chain`, by its `key`."""
    try:
        # OpenSSL would ask the terminal for a pass phrase, and gRPC cannot be told one.
        context.load_cert_chain(chain, key, password="")
    except (ValueError, OSError):
        raise SettingsError(
            f"{' and '.join(settings)} name {chain} and {key}, which are not a certificate in PEM and the "
            "key that belongs to it, without a pass phrase"
        ) from None


def checked(
    contents: Callable[[], Held], context: Callable[[], ssl.SSLContext], what: str
) -> tuple[Held, ssl.SSLContext]:
    """The `contents` of files, and OpenSSL's `context` of the same.

    What gRPC is given is what OpenSSL has checked.
    """
    held = contents()
    made = context()
    if contents() != held:
        raise SettingsError(f"{what} was replaced while it was read")
    return held, made
