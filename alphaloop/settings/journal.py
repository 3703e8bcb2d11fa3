"""Settings of the journal: `journal.…`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from alphaloop.settings.base import Section
from alphaloop.settings.storage import checked_location


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


def _bucket(text: str) -> str:
    """Return the location of a bucket: a second file would prove nothing."""
    location = checked_location(text)
    if location and "://" not in location:
        raise ValueError("it is no bucket; write s3://bucket/prefix, or leave it empty for a file under home")
    return location


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
    anchors: Annotated[str, AfterValidator(_bucket)] = Field(
        "",
        description="s3://bucket/prefix of the anchors of the journal's chains; empty: a file under home",
    )
    anchor_seconds: float = Field(
        1.0, gt=0, le=60, description="seconds by which anchors in a bucket may follow their records"
    )
    anchor_records: int = Field(
        100, ge=1, le=100_000, description="records of a stream by which they may follow at most"
    )
    unanchored_seconds: float = Field(
        300.0,
        ge=5,
        le=86_400,
        description="seconds without an anchor, while the bucket is away, after which nothing is recorded "
        "and so nothing is sent",
    )
    lease_seconds: float = Field(
        10.0,
        ge=1,
        le=3_600,
        description="seconds without a sign of life after which a standby takes over the role of a process",
    )
