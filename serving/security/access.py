"""Access by bearer token: which client may predict, and which may administer.

The token file has a line for each client: its name, its scopes joined by commas, and the token, in clear or
as `sha256:` and its hex digest. Only digests are kept in memory. The file may be replaced while the server
runs, as mounted secrets are; it is read again within a second, and at once for an unknown token. A client may
have several tokens, so that it can change from one to the next.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alphaloop.errors import SettingsError
from alphaloop.settings.serving import ServingSettings
from serving.protocol.errors import AccessDeniedError, UnauthenticatedError
from serving.security.reloadable_file import ReloadableFile

DIGEST_PREFIX = "sha256:"
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A token may hold the sign that begins a comment; a comment begins at a line's start or after a blank.
_COMMENT = re.compile(r"(?:^|\s)#.*")
MIN_TOKEN_LENGTH = 16


class Scope(StrEnum):
    """Scope of a token: `admin` loads and unloads versions, `predict` allows everything else."""

    PREDICT = "predict"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Grant:
    """Client of a token, and its scopes."""

    client: str
    scopes: frozenset[Scope]


class AccessTokens:
    """Tokens of one file.

    Raises `SettingsError`, which never holds a token, if the file cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._grants = ReloadableFile(file, _read)

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> AccessTokens | None:
        """Read the token file of the settings.

        None without a file: then any client may do anything, which is allowed on loopback only.
        """
        return cls(settings.tokens) if settings.tokens else None

    def authorise(self, header: str | None, scope: Scope) -> str:
        """Return the client whose token is in `header` (`Bearer …`), if it has `scope`.

        Raises `UnauthenticatedError` without a known token and `AccessDeniedError` without the scope.
        """
        grants = self._grants.current()
        kind, _, token = (header or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise UnauthenticatedError("send a token: the header 'authorization' with 'Bearer <token>'")
        digest = _digest(token.strip())
        grant = grants.get(digest)
        if grant is None:
            # The token may be newer than the last look at the file.
            self._grants.reload_if_replaced()
            grant = self._grants.content.get(digest)
        if grant is None:
            raise UnauthenticatedError("this token is not known here")
        if scope not in grant.scopes:
            raise AccessDeniedError(f"the token of '{grant.client}' does not have the scope '{scope}'")
        return grant.client


def require_access_control(settings: ServingSettings) -> None:
    """Raise `SettingsError` for a server without tokens on any but a loopback address."""
    if settings.tokens is None and not is_loopback(settings.host):
        raise SettingsError(
            f"serving.host is {settings.host} and there are no tokens: anybody could ask; "
            "set serving.tokens, or serve on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(file: Path) -> dict[str, Grant]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        # The cause is left out: a decoding error carries the file's bytes.
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise SettingsError(f"serving.tokens names {file}, which cannot be read ({why})") from None
    grants = {}
    for number, line in enumerate(lines, 1):
        words = _COMMENT.sub("", line).split()
        if words:
            digest, grant = _grant(words, f"{file} line {number}")
            grants[digest] = grant
    if not grants:
        raise SettingsError(f"serving.tokens names {file}, which holds no token; nobody could ask")
    return grants


def _grant(words: list[str], where: str) -> tuple[str, Grant]:
    if len(words) != 3:
        raise SettingsError(f"{where}: give client, scopes and token, not {len(words)} words")
    client, scopes, token = words
    known = {scope.value for scope in Scope}
    unknown = set(scopes.split(",")) - known
    if unknown:
        raise SettingsError(f"{where}: unknown scope '{min(unknown)}'; known: {', '.join(sorted(known))}")
    digest = token.removeprefix(DIGEST_PREFIX).lower() if token.startswith(DIGEST_PREFIX) else _digest(token)
    if not _DIGEST.fullmatch(digest):
        raise SettingsError(f"{where}: behind '{DIGEST_PREFIX}' come 64 hexadecimal digits")
    if not token.startswith(DIGEST_PREFIX) and len(token) < MIN_TOKEN_LENGTH:
        raise SettingsError(f"{where}: a token has at least {MIN_TOKEN_LENGTH} characters")
    return digest, Grant(client, frozenset(Scope(scope) for scope in scopes.split(",")))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
