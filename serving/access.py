"""Access: who may predict, and who may administer, by bearer token.

The file of tokens has a line for each client: its name, its scopes joined by commas, and the token, as
it is or as `sha256:` and the hex digest of it. Only digests are kept in memory. The file may be replaced
while the server runs, as mounted secrets are; it is read again within seconds.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from alphaloop.clock import monotonic
from alphaloop.errors import SettingsError
from alphaloop.settings import ServingSettings
from serving.failures import AccessDeniedError, UnauthenticatedError

log = logging.getLogger(__name__)

RECHECK_SECONDS = 2.0
HASHED = "sha256:"
_DIGEST = re.compile(r"[0-9a-f]{64}")
SHORTEST_TOKEN = 16


class Scope(StrEnum):
    """What a token allows: `admin` loads and unloads versions, `predict` everything else."""

    PREDICT = "predict"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Grant:
    """A client, and what it may do."""

    client: str
    scopes: frozenset[Scope]


class Access:
    """The tokens of one file. Raises `SettingsError`, which never holds a token, where it is no such file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = self._stamped()
        self._grants = _read(file)
        self._checked = monotonic()

    @classmethod
    def from_settings(cls, settings: ServingSettings) -> Access | None:
        """The access of the settings; None where anybody may do everything, which loopback alone allows."""
        return cls(settings.tokens) if settings.tokens else None

    def authorise(self, header: str | None, scope: Scope) -> str:
        """The client whose token is in `header` (`Bearer …`), if it has `scope`.

        Raises `UnauthenticatedError` without a known token and `AccessDeniedError` without the scope.
        """
        self._refresh()
        kind, _, token = (header or "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise UnauthenticatedError("send a token: the header 'authorization' with 'Bearer <token>'")
        grant = self._grants.get(_digest(token.strip()))
        if grant is None:
            raise UnauthenticatedError("this token is not known here")
        if scope not in grant.scopes:
            raise AccessDeniedError(f"the token of '{grant.client}' does not have the scope '{scope}'")
        return grant.client

    def _refresh(self) -> None:
        now = monotonic()
        if now - self._checked < RECHECK_SECONDS:
            return
        self._checked = now
        try:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._grants, self._stamp = _read(self._file), stamp
        except SettingsError as error:
            # Half-written, or away for a moment: those who had access keep it until it can be read.
            log.warning("the tokens are not read again: %s", error)

    def _stamped(self) -> tuple[int, int, int]:
        try:
            stat = self._file.stat()
        except OSError as error:
            raise SettingsError(
                f"serving.tokens names {self._file}, which cannot be read ({error.strerror})"
            ) from error
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def require_protected(settings: ServingSettings) -> None:
    """Raise `SettingsError` if anybody on the network could ask: without tokens only loopback is bound."""
    if settings.tokens is None and not is_loopback(settings.host):
        raise SettingsError(
            f"serving.host is {settings.host} and there are no tokens: anybody could ask; "
            "set serving.tokens, or serve on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
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
        raise SettingsError(
            f"serving.tokens names {file}, which cannot be read ({type(error).__name__})"
        ) from None
    grants = {}
    for number, line in enumerate(lines, 1):
        words = line.split("#", 1)[0].split()
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
    known = {one.value for one in Scope}
    unknown = set(scopes.split(",")) - known
    if unknown:
        raise SettingsError(f"{where}: unknown scope '{min(unknown)}'; known: {', '.join(sorted(known))}")
    digest = token.removeprefix(HASHED).lower() if token.startswith(HASHED) else _digest(token)
    if not _DIGEST.fullmatch(digest):
        raise SettingsError(f"{where}: behind '{HASHED}' come 64 hexadecimal digits")
    if not token.startswith(HASHED) and len(token) < SHORTEST_TOKEN:
        raise SettingsError(f"{where}: a token has at least {SHORTEST_TOKEN} characters")
    return digest, Grant(client, frozenset(Scope(one) for one in scopes.split(",")))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
