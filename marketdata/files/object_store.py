"""Object stores with the S3 protocol: AWS, MinIO and others.

Credentials come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`, or from the
files named by the same variables with `_FILE`; without them, from the places that the AWS SDKs search (a
role of the machine or of the pod). The endpoint is the given one, else that of `AWS_ENDPOINT_URL_S3` or
`AWS_ENDPOINT_URL`, else AWS itself.
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from alphaloop.errors import InputError
from alphaloop.runtime.credentials import Secret, read_optional_secret, read_secret

SCHEME = "s3://"
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
DEFAULT_REGION = "us-east-1"
CONNECT_SECONDS, REQUEST_SECONDS, MAX_ATTEMPTS = 3.0, 10.0, 3


def open_bucket(address: str, *, endpoint: str = "", region: str = "") -> tuple[Any, tuple[Secret, ...]]:
    """Open a pyarrow file system for `s3://bucket/prefix`; return it with its secrets.

    No request is sent yet. `endpoint` is `http(s)://host:port`. Raises `InputError` for an address that is
    not of this form or contains credentials, and for half a pair of credentials.
    """
    from pyarrow import fs

    _require_plain(address)
    options: dict[str, Any] = {}
    if chosen_endpoint := endpoint or environment_endpoint():
        parts = urlsplit(chosen_endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise InputError("the endpoint of an object store is written as https://host:port")
        options |= {"endpoint_override": parts.netloc, "scheme": parts.scheme}
    key, token = read_optional_secret("AWS_ACCESS_KEY_ID"), read_optional_secret("AWS_SESSION_TOKEN")
    secrets: list[Secret] = []
    if key is not None:
        secrets = [key, read_secret("AWS_SECRET_ACCESS_KEY"), *([token] if token else [])]
        names = ("access_key", "secret_key", "session_token")
        options |= {name: part.reveal() for name, part in zip(names, secrets, strict=False)}
    filesystem = fs.S3FileSystem(
        region=region or _first(REGIONS) or DEFAULT_REGION,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=MAX_ATTEMPTS),
        **options,
    )
    return filesystem, tuple(secrets)


def environment_endpoint() -> str:
    """Return the endpoint named in the environment; empty where there is none."""
    return _first(ENDPOINTS)


def _require_plain(address: str) -> None:
    parts = urlsplit(address)
    if "@" in parts.netloc:
        # The message does not repeat the address: it contains a password.
        raise InputError(
            "an s3:// address holds no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if not address.startswith(SCHEME) or not parts.netloc:
        raise InputError(f"'{address}' is no address of a bucket; write s3://bucket/prefix")


def _first(variables: tuple[str, ...]) -> str:
    return next((os.environ[name] for name in variables if os.environ.get(name)), "")
