"""Settings of the registry: `registry.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from alphaloop.settings.base import Section


def _server_uri(uri: str) -> str:
    """Return `uri` without a last slash if it is the address of a server and holds no password."""
    if not uri:
        return uri
    parts = urlsplit(uri)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it is not of the form https://HOST:PORT")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "it holds a login, which logs and reports would show; leave it out, and set registry.username "
            "and registry.password_file"
        )
    return uri.rstrip("/")


class RegistrySettings(Section):
    """The MLflow server of the registry, and the login there.

    Token and password are never written when settings are passed on to another process, which reads its own.
    """

    uri: Annotated[str, AfterValidator(_server_uri)] = Field(
        "",
        description="MLflow server of the registry, as https://HOST:PORT; empty: SQLite and a folder under "
        "home",
    )
    token: SecretStr = Field(
        SecretStr(""), exclude=True, description="bearer token for the server of `uri`; or `token_file`"
    )
    token_file: Path | None = Field(None, description="file that holds the token and nothing else")
    username: str = Field("", description="user at the server of `uri`")
    password: SecretStr = Field(
        SecretStr(""), exclude=True, description="password of `username`; or `password_file`"
    )
    password_file: Path | None = Field(None, description="file that holds the password and nothing else")
