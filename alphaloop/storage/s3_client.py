"""The client of a server with the S3 protocol, and its errors in our words.

Endpoint, region and credentials come from the standard variables: `AWS_ENDPOINT_URL_S3` or
`AWS_ENDPOINT_URL`, `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
`AWS_SESSION_TOKEN` (or the files named by `AWS_ACCESS_KEY_ID_FILE`, …); without keys, from the places that
the AWS SDKs search, as a role of the pod.
"""

from __future__ import annotations

import os
from typing import Any

from alphaloop.errors import AlphaloopError, InputError, MissingPartError, VendorError
from alphaloop.runtime.credentials import read_optional_secret, read_secret

CONNECT_SECONDS, REQUEST_SECONDS, ATTEMPTS = 3.0, 10.0, 3
DEFAULT_REGION = "us-east-1"
REGION_CODES = {
    "301",
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}
REFUSED_CODES = {"403", "AccessDenied", "AllAccessDisabled", "Forbidden"}
KEY_CODES = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidToken",
    "ExpiredToken",
    "TokenRefreshRequired",
}


def s3_client() -> Any:
    """Make a client with bounded times; no request is sent yet.

    Raises
    ------
    MissingPartError
        Where boto3 is not installed.
    InputError
        For half a pair of credentials, or an endpoint that is no URL.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError as error:
        raise MissingPartError(
            "stores behind s3:// need boto3, which is not installed; pip install 'alphaloop[s3]'"
        ) from error
    options: dict[str, Any] = {}
    key, token = read_optional_secret("AWS_ACCESS_KEY_ID"), read_optional_secret("AWS_SESSION_TOKEN")
    if key is not None:
        options["aws_access_key_id"] = key.reveal()
        options["aws_secret_access_key"] = read_secret("AWS_SECRET_ACCESS_KEY").reveal()
        options["aws_session_token"] = token.reveal() if token else None
    endpoint = s3_endpoint()
    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=REQUEST_SECONDS,
        retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
        # Servers other than AWS do not know the checksums that newer clients add.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    try:
        session = boto3.session.Session(region_name=s3_region(), **options)
        return session.client("s3", endpoint_url=endpoint or None, config=config)
    except ValueError as error:
        raise InputError(
            f"AWS_ENDPOINT_URL '{endpoint}' is no endpoint of an object store; write https://host:port"
        ) from error


def s3_endpoint() -> str:
    """Return the endpoint that the environment names; empty for AWS."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def s3_region() -> str:
    """Return the region that the environment names, or the default one."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or DEFAULT_REGION


def http_status(error: Exception) -> int:
    """Return the status of the answer behind an error of boto3; 0 where there was none."""
    response = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_code(error: Exception) -> str:
    """Return the code that S3 gave in its answer; empty where there was none."""
    response = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def translated(error: Exception, bucket: str, address: str, doing: str) -> AlphaloopError:
    """Translate an error of boto3 or botocore into one line that names bucket, object and way out.

    Parameters
    ----------
    error : Exception
        The error; its cause is chained by the caller.
    bucket : str
        Name of the bucket.
    address : str
        URL of the object, or of the store.
    doing : str
        What failed, as a participle: `read`, `written`, `listed`, `removed`.
    """
    where = s3_endpoint() or "AWS"
    code, kind = error_code(error), type(error).__name__
    if code == "NoSuchBucket":
        return InputError(
            f"{address} cannot be {doing}: there is no bucket '{bucket}' at {where}; create it, or correct "
            "the location in the settings"
        )
    if code in REGION_CODES:
        there = _region_of(error)
        return InputError(
            f"{address} cannot be {doing}: bucket '{bucket}' is not in region '{s3_region()}' but in "
            f"{there or 'another'}; set AWS_REGION to {there or 'the region of the bucket'}"
        )
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return InputError(
            f"{address} cannot be {doing}: there are no credentials for bucket '{bucket}'; set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or …_FILE), or give the process a role"
        )
    if code in KEY_CODES:
        return InputError(
            f"{address} cannot be {doing}: {where} refuses the credentials ({code}); correct "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if code in REFUSED_CODES or http_status(error) == 403:
        return InputError(
            f"{address} cannot be {doing}: these credentials may not do that in bucket '{bucket}'; give them "
            "the rights to list, read, write and remove"
        )
    line = " ".join(str(error).split())
    return VendorError(
        f"{address} cannot be {doing}: {where} fails ({line}); look whether the object store runs and "
        "AWS_ENDPOINT_URL is right"
    )


def _region_of(error: Exception) -> str:
    response = getattr(error, "response", None) or {}
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or response.get("Error", {}).get("Region") or "")
