"""Compression of HTTP bodies: gzip, and deflate, which means zlib's format (RFC 9110, section 8.4.1).

Names of encodings are not case-sensitive. Not by Starlette's middleware: it knows no deflate, which clients
of Triton ask for, compresses where `q=0` forbids it, and decompresses no request.
"""

from __future__ import annotations

import gzip
import zlib

from serving.protocol.errors import RequestTooLargeError
from serving.protocol.messages import InvalidRequestError

# zlib's window sizes; 16 more makes zlib expect a gzip header.
WINDOWS = {"gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}
# RFC 9110, section 8.4.1.3: a recipient should treat both names alike.
ALIASES = {"x-gzip": "gzip"}
IDENTITY = "identity"
# Tensors compress badly: more effort gains little.
COMPRESSION_LEVEL = 1
# Maximum number of gzip members in a body (RFC 1952, section 2.2): each, even an empty one, costs as much
# time as a thousand bytes.
MAX_MEMBERS = 1_024
# zlib copies the bytes behind a member: of a piece, not of the whole body.
PIECE_BYTES = 2**16


def decompress(body: bytes, encoding: str, max_bytes: int, limit: str = "serving.max_request_bytes") -> bytes:
    """Decompress a body to at most `max_bytes`, however small the compressed body is.

    `limit` names the limit's origin in the message. Raises `InvalidRequestError` for an unknown encoding or
    damaged data, and `RequestTooLargeError`.
    """
    name = encoding.strip().lower()
    if not name or name == IDENTITY:
        if len(body) > max_bytes:
            raise RequestTooLargeError(f"the body has {len(body)} bytes, and at most {max_bytes} ({limit})")
        return body
    name = ALIASES.get(name, name)
    if name not in WINDOWS:
        raise InvalidRequestError(
            f"Content-Encoding is {encoding[:40]!r}; known: {', '.join(sorted(WINDOWS))}"
        )
    try:
        return _inflate(body, name, max_bytes, limit)
    except zlib.error as error:
        raise InvalidRequestError(f"the body is not {name}: {error}") from error


def _inflate(body: bytes, name: str, max_bytes: int, limit: str) -> bytes:
    """Decompress all members of gzip, or the one stream of deflate."""
    reader, members = zlib.decompressobj(WINDOWS[name]), 1
    contents: list[bytes] = []
    space = max_bytes
    for at in range(0, len(body), PIECE_BYTES):
        piece = body[at : at + PIECE_BYTES]
        while piece:
            if reader.eof:
                members += 1
                if name != "gzip" or members > MAX_MEMBERS:
                    more = "" if name != "gzip" else f" than {MAX_MEMBERS} members"
                    raise InvalidRequestError(f"the body has more{more} behind the end of its {name}")
                reader = zlib.decompressobj(WINDOWS[name])
            contents.append(reader.decompress(piece, space + 1))
            space -= len(contents[-1])
            if space < 0:
                raise RequestTooLargeError(
                    f"the body has more than {max_bytes} bytes once it is decompressed ({limit})"
                )
            piece = reader.unconsumed_tail or reader.unused_data
    if not reader.eof:
        raise InvalidRequestError(f"the body is not {name}: it ends too early")
    return b"".join(contents)


def compress(body: bytes, accepted: str) -> tuple[bytes, str | None]:
    """Compress the body with the first known encoding of `accepted`, and return its name too.

    `accepted` is the header `Accept-Encoding`. Without a known encoding the body is returned as it is.
    """
    for part in accepted.split(","):
        name, *parameters = (one.strip().lower() for one in part.split(";"))
        name = ALIASES.get(name, name)
        if name in WINDOWS and all(map(_is_wanted, parameters)):
            compressed = (
                gzip.compress(body, COMPRESSION_LEVEL, mtime=0)
                if name == "gzip"
                else zlib.compress(body, COMPRESSION_LEVEL)
            )
            return compressed, name
    return body, None


def _is_wanted(parameter: str) -> bool:
    """Return False for an encoding's parameter that excludes it.

    That is a weight of zero, or a weight that is not a number.
    """
    name, _, value = (one.strip() for one in parameter.partition("="))
    if name != "q":
        return True
    try:
        return float(value) > 0
    except ValueError:
        return False
