"""Signatures of model versions: Ed25519 over the SHA-256 of the ONNX file (RFC 8032).

The holder of the private key decides what may be served. The digest binds the signature to the file, and the
card's own hash binds the card to the digest; the registry holds the signature beside them, in hex.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alphaloop.errors import DamagedStoreError, SettingsError

MESSAGE_PREFIX = b"alphaloop model "


class UntrustedModelError(DamagedStoreError):
    """Model version without the required signature."""


def signed_message(digest: str) -> bytes:
    """Return the signed message: a fixed prefix and the digest.

    The prefix keeps signatures made for other purposes from being valid here.
    """
    return MESSAGE_PREFIX + digest.encode()


def sign_digest(digest: str, key: Path) -> str:
    """Sign the digest of an ONNX file.

    Parameters
    ----------
    digest : str
        SHA-256 of the ONNX file, in hex.
    key : Path
        PEM file of an Ed25519 private key without a password.

    Returns
    -------
    str
        Signature, in hex.

    Raises
    ------
    SettingsError
        If the file cannot be read or does not hold such a key.

    References
    ----------
    RFC 8032, "Edwards-Curve Digital Signature Algorithm (EdDSA)".
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private = _read(key, lambda content: load_pem_private_key(content, password=None))
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(
            f"{key} holds no Ed25519 private key; make one with: openssl genpkey -algorithm ed25519"
        )
    return private.sign(signed_message(digest)).hex()


def require_signature(model: str, version: str, digest: str, signature: str | None, key: Path) -> None:
    """Raise unless a version's signature is valid for its ONNX file.

    Parameters
    ----------
    model, version : str
        Name and version in the registry, for messages.
    digest : str
        SHA-256 of the ONNX file, in hex.
    signature : str or None
        Signature from the registry, in hex; None for an unsigned version.
    key : Path
        PEM file of an Ed25519 public key.

    Raises
    ------
    UntrustedModelError
        If the signature is missing or not that of the key.
    SettingsError
        If the file cannot be read or does not hold an Ed25519 public key.

    References
    ----------
    RFC 8032, "Edwards-Curve Digital Signature Algorithm (EdDSA)".
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    public = _read(key, load_pem_public_key)
    if not isinstance(public, Ed25519PublicKey):
        raise SettingsError(f"serving.signing_key {key} holds no Ed25519 public key")
    if not signature:
        raise UntrustedModelError(
            f"{model} version {version} is not signed and serving.signing_key asks for it; sign it with: "
            f"alphaloop models sign {model} {version} --key FILE"
        )
    try:
        public.verify(bytes.fromhex(signature), signed_message(digest))
    except (InvalidSignature, ValueError) as error:
        raise UntrustedModelError(
            f"the signature of {model} version {version} is not that of {key}; do not serve it"
        ) from error


def _read(path: Path, parse: Any) -> Any:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise SettingsError(f"the key {path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SettingsError(f"the key {path} is not PEM without a password: {error}") from error
