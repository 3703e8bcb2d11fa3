"""Count of a protobuf message's fields before it is parsed.

Parsing a message of 16 MiB takes milliseconds if it holds one large tensor, and half a second, in one call
that no other thread can interrupt, if it holds millions of empty fields. So the fields are counted first, on
the wire format (https://protobuf.dev/programming-guides/encoding/).
"""

from __future__ import annotations

from typing import Any

from serving.protocol.messages import InvalidRequestError

# More than any request with its tensors in `raw_input_contents` has.
MAX_FIELDS = 10_000
VARINT, FIXED_64, BYTES, FIXED_32 = 0, 1, 2, 5
_WIDTHS = {FIXED_64: 8, FIXED_32: 4}


def require_few_fields(content: bytes, kind: Any, most: int = MAX_FIELDS) -> None:
    """Raise `InvalidRequestError` unless a message of `kind` (a descriptor) has at most `most` fields.

    Each number of a packed list counts, except those of fixed width, which are parsed as a whole. A damaged
    message passes: its parser reports the fault.
    """
    try:
        left = _count(content, 0, len(content), kind, most)
    except IndexError:
        return
    if left < 0:
        raise InvalidRequestError(
            f"the message has more than {most} fields; send tensors in raw_input_contents, one each"
        )


def _count(content: bytes, at: int, end: int, kind: Any, left: int) -> int:
    """Return `left` less the number of fields from `at` to `end`."""
    while at < end and left >= 0:
        left -= 1
        key, at = _varint(content, at)
        wire = key & 7
        if wire == VARINT:
            _, at = _varint(content, at)
        elif wire in _WIDTHS:
            at += _WIDTHS[wire]
        elif wire == BYTES:
            length, at = _varint(content, at)
            field = kind.fields_by_number.get(key >> 3)
            if field is not None and field.message_type is not None:
                left = _count(content, at, min(end, at + length), field.message_type, left)
            elif field is not None and field.type in _numbers(field):
                left -= length
            at += length
        else:
            # Groups, which the protocol does not have.
            return -1
    return left


def _numbers(field: Any) -> tuple[int, ...]:
    """Return the types of numeric fields without a fixed width."""
    return (
        field.TYPE_INT32, field.TYPE_INT64, field.TYPE_UINT32, field.TYPE_UINT64, field.TYPE_SINT32,
        field.TYPE_SINT64, field.TYPE_BOOL, field.TYPE_ENUM,
    )  # fmt: skip


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the number at index `at`, and the index after it."""
    value = shift = 0
    while shift < 70:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError("a number has at most ten bytes")
