"""Compression of HTTP bodies: gzip, and deflate, which means zlib's format (RFC 9110, section 8.4.1).

Names of encodings are the same in capitals.
"""

from __future__ import annotations

import gzip
import zlib

from serving.failures import RequestTooLargeError
from serving.protocol import InvalidRequestError

# zlib's window sizes: with 16 more a header of gzip is expected.
WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
IDENTITY = "identity"
# Tensors compress badly: more effort buys little.
LEVEL = 1


def decompress(body: bytes, encoding: str, most_bytes: int) -> bytes:
    """The content of a body; never makes more than `most_bytes`, however little was sent.

    Raises `InvalidRequestError` for an unknown encoding or damaged data, and `RequestTooLargeError`.
    """
    if not encoding or encoding.lower() == IDENTITY:
        return body
    window = WINDOWS.get(encoding.lower())
    if window is None:
        raise InvalidRequestError(
            f"Content-Encoding is {encoding[:40]!r}; known: {', '.join(sorted(WINDOWS))}"
        )
    reader = zlib.decompressobj(window)
    try:
        content = reader.decompress(body, most_bytes + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"the body is not {encoding}: {error}") from error
    if len(content) > most_bytes:
        raise RequestTooLargeError(
            f"the body has more than {most_bytes} bytes once it is decompressed (serving.max_request_bytes)"
        )
    if not reader.eof:
        raise InvalidRequestError(f"the body is not {encoding}: it ends too early")
    return content


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """The body in the first encoding of `accepted` (`Accept-Encoding`) that is known here, and its name."""
    for part in accepted.split(","):
        name, _, weight = part.strip().lower().partition(";")
        if name in WINDOWS and weight.replace(" ", "") not in {"q=0", "q=0.0"}:
            made = gzip.compress(body, LEVEL, mtime=0) if name == "gzip" else zlib.compress(body, LEVEL)
            return made, name
    return body, None
