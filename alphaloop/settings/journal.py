"""Settings of the journal: `journal.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from alphaloop.settings.base import Section


def _server_url(url: str) -> str:
    """Return `url` if it names a PostgreSQL database and holds no password."""
    if not url:
        return url
    parts = urlsplit(url)
    if parts.scheme != "postgresql" or not parts.hostname or not parts.path.strip("/"):
        raise ValueError("it is not of the form postgresql://USER@HOST:PORT/DATABASE")
    if parts.password is not None:
        raise ValueError(
            "it holds a password, which logs and reports would show; leave it out, and set "
            "journal.password_file, or PGPASSWORD in the environment"
        )
    return url


class JournalSettings(Section):
    """The database of journal and roles, and how long a role is held without a sign of life."""

    url: Annotated[str, AfterValidator(_server_url)] = Field(
        "",
        description="database of the journal, as postgresql://USER@HOST:PORT/DATABASE without a password; "
        "empty: a file under home",
    )
    password_file: Path | None = Field(
        None,
        description="file that holds the password of `url` and nothing else; without it, PGPASSWORD or "
        "PGPASSFILE",
    )
    lease_seconds: float = Field(
        10.0,
        ge=1,
        le=3_600,
        description="seconds without a sign of life after which a standby takes over the role of a process",
    )
