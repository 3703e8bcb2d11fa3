"""Objects in a bucket of a server with the S3 protocol: AWS, SeaweedFS and others."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from alphaloop.clock import as_utc, sleep
from alphaloop.errors import InputError
from alphaloop.storage.object_store import StoredObject, first_names, missing
from alphaloop.storage.s3_client import error_code, http_status, s3_client, translated

SCHEME = "s3://"
CONFLICT, TAKEN, NOT_FOUND = 409, 412, 404
MAX_CONFLICTS, CONFLICT_SECONDS = 20, 0.05
PAGE_NAMES = 1_000


class S3Store:
    """Objects below a prefix of a bucket, created by `If-None-Match: *`.

    Nothing is sent before the first use. An object is readable as soon as its writer has the answer.

    Parameters
    ----------
    location : str
        `s3://bucket` or `s3://bucket/prefix`.
    client : object, optional
        Client of boto3; by default one that follows the environment, see `alphaloop.storage.s3_client`.

    Raises
    ------
    InputError
        For a location of another form, or with credentials in it.
    """

    shared = True

    def __init__(self, location: str, client: Any = None) -> None:
        bucket, _, prefix = location.removeprefix(SCHEME).strip("/").partition("/")
        if "@" in bucket:
            # The message does not repeat the location: it contains a password.
            raise InputError(
                "an s3:// location holds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        if not location.startswith(SCHEME) or not bucket:
            raise InputError(f"'{location}' is no location in a bucket; write s3://bucket/prefix")
        self.bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._given = client

    @property
    def location(self) -> str:
        """URL of the prefix."""
        return f"{SCHEME}{self.bucket}/{self._prefix}".rstrip("/")

    def address(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{SCHEME}{self.bucket}/{self._prefix}{name}"

    def create(self, name: str, content: bytes, *, durable: bool = False) -> bool:
        """Store `content` if `name` is free; return whether it was.

        False also after a write of one's own whose answer was lost; `claim` tells them apart.
        """
        return self._create(name, lambda: io.BytesIO(content))

    def create_by(self, name: str, write: Callable[[Path], object], *, durable: bool = False) -> bool:
        """Let `write` fill a temporary file, and store it if `name` is free; return whether it was."""
        with tempfile.TemporaryDirectory(prefix="alphaloop-store-") as folder:
            path = Path(folder) / name.rpartition("/")[2]
            try:
                write(path)
            except OSError as error:
                raise InputError(
                    f"{self.address(name)} cannot be written: the temporary file {path} cannot "
                    f"({error.strerror or error}); make room there, or set TMPDIR to another folder"
                ) from error
            return self._create(name, lambda: path.open("rb"))

    def replace(self, name: str, content: bytes) -> None:
        """Store `content` in place of what `name` holds, in one step."""
        self._ask("written", name, lambda: self._client.put_object(**self._key(name), Body=content))

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading."""
        return io.BytesIO(self.read(name))

    def read(self, name: str) -> bytes:
        """Read an object."""

        def body() -> bytes:
            return bytes(self._client.get_object(**self._key(name))["Body"].read())

        return bytes(self._ask("read", name, body))

    def exists(self, name: str) -> bool:
        """Test whether there is an object of this name."""
        try:
            self._ask("read", name, lambda: self._client.head_object(**self._key(name)))
        except FileNotFoundError:
            return False
        return True

    def names(self, prefix: str = "", *, limit: int | None = None) -> list[str]:
        """List the names that begin with `prefix`, in the order of their bytes, at most `limit`."""
        # Servers with folders inside list `a/1` before `a-b/1`.
        return first_names([self._name(entry) for entry in self._entries(prefix, limit)], limit)

    def listed(self, prefix: str = "") -> list[StoredObject]:
        """List the objects whose names begin with `prefix`, with size and time, in order of name."""
        found = [
            StoredObject(self._name(entry), entry["Size"], as_utc(entry["LastModified"]))
            for entry in self._entries(prefix, None)
        ]
        return sorted(found, key=lambda one: one.name.encode())

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        self._ask("removed", name, lambda: self._client.delete_object(**self._key(name)))

    @cached_property
    def _client(self) -> Any:
        return self._given or s3_client()

    def _create(self, name: str, content: Callable[[], BinaryIO]) -> bool:
        def put() -> bool:
            with content() as body:
                self._client.put_object(**self._key(name), Body=body, IfNoneMatch="*")
            return True

        for _ in range(MAX_CONFLICTS):
            created = self._ask("written", name, put, answers={TAKEN: False, CONFLICT: None})
            if created is not None:
                return bool(created)
            # Another write of this name was under way.
            sleep(CONFLICT_SECONDS)
        return bool(self._ask("written", name, put, answers={TAKEN: False}))

    def _entries(self, prefix: str, limit: int | None) -> list[dict[str, Any]]:
        def pages() -> Iterator[dict[str, Any]]:
            options: dict[str, Any] = {"Bucket": self.bucket, "Prefix": self._prefix + prefix}
            options["MaxKeys"] = PAGE_NAMES if limit is None else min(limit, PAGE_NAMES)
            found = 0
            while limit is None or found < limit:
                page = self._client.list_objects_v2(**options)
                entries = page.get("Contents", [])
                yield from entries if limit is None else entries[: limit - found]
                found += len(entries)
                if not page.get("IsTruncated"):
                    return
                options["ContinuationToken"] = page["NextContinuationToken"]

        return list(self._ask("listed", prefix, lambda: list(pages())))

    def _name(self, entry: dict[str, Any]) -> str:
        return str(entry["Key"]).removeprefix(self._prefix)

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._prefix + name}

    def _ask(
        self, doing: str, name: str, request: Callable[[], Any], answers: dict[int, Any] | None = None
    ) -> Any:
        """Send a request; a status in `answers` is a result, every other error is translated."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        try:
            return request()
        except ClientError as error:
            status = http_status(error)
            if answers and status in answers:
                return answers[status]
            if status == NOT_FOUND and error_code(error) != "NoSuchBucket":
                raise missing(self.address(name)) from error
            raise translated(error, self.bucket, self.address(name), doing) from error
        except (BotoCoreError, Boto3Error, HTTPClientError, OSError) as error:
            if isinstance(error, FileNotFoundError):
                raise
            raise translated(error, self.bucket, self.address(name), doing) from error
