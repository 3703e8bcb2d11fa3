"""The login at an MLflow server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alphaloop.errors import SettingsError
from alphaloop.runtime.credentials import Secret
from alphaloop.settings.registry import RegistrySettings


class ServerLogin:
    """A login that shows no secret: a bearer token, a user with a password, or nothing.

    Parameters
    ----------
    settings : RegistrySettings
        Token, or user and password. Their files are read when a connection is made, so that a rotated secret
        is used by the next process.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings

    def __repr__(self) -> str:
        chosen = self._settings
        return f"ServerLogin({chosen.username or 'token or nothing'})"

    def apply(self, session: Any) -> None:
        """Let every request of the `requests` session `session` carry this login.

        Raises `SettingsError`, which holds no secret, for a file that cannot be read or is empty.
        """
        chosen = self._settings
        token = _read("token", chosen.token.get_secret_value(), chosen.token_file)
        password = _read("password", chosen.password.get_secret_value(), chosen.password_file)
        if token is not None:
            session.auth = _Bearer(token)
        elif password is not None:
            session.auth = (chosen.username, password.reveal())


class _Bearer:
    """The header of a bearer token, for each request."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return request


def _read(name: str, value: str, file: Path | None) -> Secret | None:
    """Return the secret `registry.NAME` from its setting, else from its file."""
    if value.strip() or file is None:
        return Secret(f"registry.{name}", value.strip()) if value.strip() else None
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        # The cause is left out: a decoding error carries the file's bytes.
        raise SettingsError(
            f"registry.{name}_file {file} cannot be read ({type(error).__name__}); mount the secret there"
        ) from None
    if not text:
        raise SettingsError(f"registry.{name}_file {file} is empty; write the {name} there")
    return Secret(f"registry.{name}", text)
