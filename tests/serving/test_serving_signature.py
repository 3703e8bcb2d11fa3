"""What is not signed with the required key is not served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from alphaloop.errors import SettingsError
from serving.protocol.messages import InferenceRequest
from serving.security.signature import UntrustedModelError, require_signature, sign_digest


def write_keys(folder: Path, name: str, private: Any) -> tuple[Path, Path]:
    """Files of a private and its public key, in PEM."""
    pem = serialization.Encoding.PEM
    files = folder / f"{name}.pem", folder / f"{name}.pub"
    files[0].write_bytes(
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    files[1].write_bytes(
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return files


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """A private key and its public one."""
    return write_keys(tmp_path, "key", ed25519.Ed25519PrivateKey.generate())


def test_only_a_signed_version_is_served(serve: Any, shelf: Any, keys: tuple[Path, Path]) -> None:
    """A version with the key's signature answers; without one, or with another's, it is refused by name."""
    private, public = keys
    version = shelf.add(1.0, 0.0, 0.0)
    registry = shelf.registry
    registry.sign(shelf.name, version, sign_digest(registry.card(shelf.name, version).digest, private))
    shelf.route(champion=version)
    served = serve(shelf, signing_key=public)
    panel = served.world.panel[:, -2:, :]
    assert served.core.infer(InferenceRequest(shelf.name, panel=panel)).version == version

    unsigned, forged = shelf.add(0.0, 1.0, 0.0), shelf.add(0.0, 0.0, 1.0)
    registry.sign(shelf.name, forged, registry.signature(shelf.name, version))
    with pytest.raises(UntrustedModelError, match=f"version {unsigned} is not signed.*models sign"):
        served.core.infer(InferenceRequest(shelf.name, unsigned, panel=panel))
    with pytest.raises(UntrustedModelError, match=f"signature of {shelf.name} version {forged}"):
        served.core.infer(InferenceRequest(shelf.name, forged, panel=panel))


def test_an_unsigned_challenger_does_not_stop_the_champion(
    serve: Any, shelf: Any, keys: tuple[Path, Path]
) -> None:
    """The challenger that cannot be trusted is not loaded; its requests fall back."""
    private, public = keys
    champion, challenger = shelf.add(1.0, 0.0, 0.0), shelf.add(0.0, 1.0, 0.0)
    shelf.registry.sign(
        shelf.name, champion, sign_digest(shelf.registry.card(shelf.name, champion).digest, private)
    )
    shelf.route(champion=champion)
    shelf.route(state="canary", challenger=challenger, weight=1.0)
    served = serve(shelf, signing_key=public)
    answer = served.core.infer(
        InferenceRequest(shelf.name, panel=served.world.panel[:, -2:, :], route_key="sleeve-00")
    )
    assert (answer.version, answer.parameters["route"]) == (champion, "fallback")


def test_a_key_of_another_kind_is_named(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    """A key that is missing, no PEM, or of another algorithm is a wrong setting, not a forged model."""
    private, public = write_keys(tmp_path, "curve", ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(SettingsError, match="no Ed25519 private key"):
        sign_digest("0" * 64, private)
    with pytest.raises(SettingsError, match="no Ed25519 public key"):
        require_signature("m", "1", "0" * 64, "00", public)
    with pytest.raises(SettingsError, match="cannot be read"):
        require_signature("m", "1", "0" * 64, "00", tmp_path / "nothing")
    (tmp_path / "text").write_text("text")
    with pytest.raises(SettingsError, match="not PEM"):
        sign_digest("0" * 64, tmp_path / "text")
    with pytest.raises(UntrustedModelError):
        require_signature("m", "1", "0" * 64, "no hex", keys[1])
