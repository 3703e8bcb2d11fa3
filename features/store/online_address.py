"""Address of the online store: SQLite beside Feast's registry, or a Redis server.

Redis credentials come from `REDIS_PASSWORD` and `REDIS_USERNAME`, or from the files that the same names with
`_FILE` point to. Credentials inside an address are accepted, but never shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import unquote, urlsplit

from alphaloop.errors import InputError
from alphaloop.runtime.credentials import Secret, read_optional_secret

SQLITE = "sqlite"
PROJECT = "alphaloop"
SCHEMES = {"redis": False, "rediss": True}
DEFAULT_PORT = 6379
_FORM = "write features.online as sqlite, or redis://host:port/db (rediss:// for TLS)"


@dataclass(frozen=True, slots=True)
class OnlineAddress:
    """Address of an online store: SQLite if `host` is empty, else a Redis database.

    `str()` omits credentials. `project` separates stores that share a Redis.
    """

    host: str = ""
    port: int = DEFAULT_PORT
    database: int = 0
    tls: bool = False
    project: str = PROJECT
    user: Secret | None = field(default=None, repr=False, compare=False)
    given: Secret | None = field(default=None, repr=False, compare=False)

    @property
    def remote(self) -> bool:
        """True if the store is a server."""
        return bool(self.host)

    def __str__(self) -> str:
        if not self.remote:
            return SQLITE
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.database}"

    def named(self, project: str) -> Self:
        """Return the same address for another project."""
        return replace(self, project=project)

    def credentials(self) -> tuple[Secret | None, Secret | None]:
        """Return user and password, each None if absent. Raises `InputError` for an unreadable file."""
        return (
            self.user or read_optional_secret("REDIS_USERNAME"),
            self.given or read_optional_secret("REDIS_PASSWORD"),
        )


def online_address(text: str | OnlineAddress) -> OnlineAddress:
    """Parse `sqlite`, `redis://host:port/db` or `rediss://host:port/db` (TLS).

    Raises `InputError`, which never repeats a password, for any other text.
    """
    if isinstance(text, OnlineAddress):
        return text
    if text == SQLITE:
        return OnlineAddress()
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES or not parts.hostname or parts.query or parts.fragment:
        shown = "what was given" if "@" in text else f"'{text}'"
        raise InputError(f"{shown} is no address of an online store; {_FORM}")
    database = parts.path.strip("/") or "0"
    try:
        port = parts.port or DEFAULT_PORT
    except ValueError as error:
        raise InputError(
            f"the port of Redis at {parts.hostname} is no number up to 65535; {_FORM}"
        ) from error
    if not database.isdigit():
        raise InputError(f"the database of Redis at {parts.hostname} is '{database}', no number; {_FORM}")
    return OnlineAddress(
        host=parts.hostname,
        port=port,
        database=int(database),
        tls=SCHEMES[parts.scheme],
        user=Secret("user of features.online", unquote(parts.username)) if parts.username else None,
        given=Secret("password of features.online", unquote(parts.password)) if parts.password else None,
    )
