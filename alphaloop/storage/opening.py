"""The store at a location: a folder, or a prefix of a bucket."""

from __future__ import annotations

from pathlib import Path

from alphaloop.errors import SettingsError
from alphaloop.storage.folder_store import FolderStore
from alphaloop.storage.object_store import ObjectStore
from alphaloop.storage.s3_store import SCHEME, S3Store


def open_store(location: str | Path | ObjectStore) -> ObjectStore:
    """Open the store at `location`; nothing is created and no request is sent.

    Parameters
    ----------
    location : str, Path or ObjectStore
        A folder, or `s3://bucket/prefix`; a store is returned as it is.

    Returns
    -------
    ObjectStore

    Raises
    ------
    SettingsError
        For a location with a scheme other than `s3://`.
    InputError
        For an `s3://` location without a bucket, or with credentials.

    Examples
    --------
    >>> open_store("runs/data").location, open_store("s3://desk/data").location
    ('runs/data', 's3://desk/data')
    """
    if not isinstance(location, str | Path):
        return location
    text = str(location)
    if text.startswith(SCHEME):
        return S3Store(text)
    if "://" in text:
        raise SettingsError(
            f"'{text}' is no location of a store: '{text.partition('://')[0]}' is no scheme that is known; "
            "write a folder, or s3://bucket/prefix"
        )
    return FolderStore(Path(text))
