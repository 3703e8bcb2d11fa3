"""Settings of stores: `storage.…`, and the type of every location."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from alphaloop.settings.base import Section


def checked_location(text: str) -> str:
    """Return `text` if it is a folder or `s3://bucket/prefix`, without a slash at its end."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        return text
    if scheme != "s3":
        raise ValueError(f"'{scheme}' is no scheme of a store; write a folder, or s3://bucket/prefix")
    bucket = rest.partition("/")[0]
    if "@" in bucket:
        raise ValueError("it holds credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    if not bucket:
        raise ValueError("it names no bucket; write s3://bucket/prefix")
    return text.rstrip("/")


Location = Annotated[str, AfterValidator(checked_location)]
"""A folder, or `s3://bucket/prefix`; empty where another setting decides."""


class StorageSettings(Section):
    """Where snapshots, offline features, prediction log and calibrations are."""

    location: Location = Field(
        "",
        description="folder or s3://bucket/prefix of snapshots, offline features, prediction log and "
        "calibrations, each under its own name; empty means `home`",
    )
