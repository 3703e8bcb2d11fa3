"""Tensors in the protocol's binary form, row-major and little-endian, and requests read from them."""

from __future__ import annotations

import math
import struct
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

import numpy as np

from alphaloop.clock import as_utc
from serving.protocol.errors import NotOfferedError
from serving.protocol.messages import (
    DEFAULT_OUTPUTS,
    INPUTS,
    OUTPUTS,
    PANEL,
    ROUTE_KEY,
    SERVER_NAME,
    SYMBOLS,
    InferenceRequest,
    InvalidRequestError,
    Panel,
    abbreviate,
)
from serving.protocol.request_limits import (
    MAX_NAME_BYTES,
    MAX_ROUTE_KEY_CHARACTERS,
    require_panel_size,
    require_route_key_count,
    require_symbol_count,
)

Parameter = str | int | bool | float | None

# Both wires define whole numbers of 64 bits; JSON can write larger ones.
MAX_INT64 = 2**63 - 1
# Parameters of inputs and outputs that would change the answer, and that this server does not implement.
UNSUPPORTED_TENSOR_PARAMETERS = {
    "classification": "classes of an output",
    "shared_memory_region": "shared memory",
}
# The same for parameters of a request. A value without effect (0, false, an empty text) is accepted.
UNSUPPORTED_REQUEST_PARAMETERS = {
    "sequence_id": "sequences of requests", "sequence_start": "sequences of requests",
    "sequence_end": "sequences of requests", "priority": "priorities of requests",
}  # fmt: skip
_LENGTH = struct.Struct("<I")
# Tensors of texts up to this size are cached, as clients and answers repeat them.
MAX_CACHED_BYTES = 4_096


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input of a request; `raw` is its content in the protocol's binary form."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes


def read_request(
    model: str,
    version: str,
    id: str,
    tensors: Sequence[Tensor],
    parameters: Mapping[str, Parameter],
    outputs: Iterable[str],
) -> InferenceRequest:
    """Build the request from the parts of a message.

    Raises `InvalidRequestError`, naming the part that is wrong, and `NotOfferedError`.
    """
    if not UNSUPPORTED_REQUEST_PARAMETERS.keys().isdisjoint(parameters):
        _require_followed(parameters)
    tensor, keys = _inputs(tensors)
    by_symbols = tensor.name == SYMBOLS
    as_of = _moment(parameters.get("as_of"))
    symbols = decode_symbols(tensor.shape, tensor.raw) if by_symbols else None
    if by_symbols and as_of is None:
        raise InvalidRequestError(
            "a request by symbols needs the parameter 'as_of', an ISO 8601 time with zone"
        )
    if keys is not None and ROUTE_KEY in parameters:
        raise InvalidRequestError("'route_key' comes as an input and as a parameter; send one of them")
    return InferenceRequest(
        model=model,
        version=version,
        id=_text("'id'", id),
        panel=None if by_symbols else decode_panel(tensor.shape, tensor.raw),
        symbols=symbols,
        as_of=as_of,
        route_key=_route_key("parameter 'route_key'", parameters.get(ROUTE_KEY, "")),
        route_keys=None if keys is None else decode_route_keys(keys.shape, keys.raw),
        min_generation=_whole("min_generation", parameters.get("min_generation", 0)),
        outputs=_outputs(outputs, DEFAULT_OUTPUTS if keys is None else tuple(OUTPUTS)),
        timeout=_whole("timeout", parameters.get("timeout", 0)) / 1e6 or None,
    )


def _inputs(tensors: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Return the panel or the symbols of a request, and its route keys if it has that input."""
    if len(tensors) == 1 and tensors[0].name != ROUTE_KEY:
        return tensors[0], None
    data = [tensor for tensor in tensors if tensor.name != ROUTE_KEY]
    keys = [tensor for tensor in tensors if tensor.name == ROUTE_KEY]
    if len(data) != 1:
        raise InvalidRequestError(f"give one input, '{PANEL}' or '{SYMBOLS}', not {len(data)}")
    if len(keys) > 1:
        raise InvalidRequestError(f"input '{ROUTE_KEY}' is given {len(keys)} times; give it once")
    return data[0], keys[0] if keys else None


def _require_followed(parameters: Mapping[str, Parameter]) -> None:
    for name, feature in UNSUPPORTED_REQUEST_PARAMETERS.items():
        if parameters.get(name):
            raise NotOfferedError(f"parameter '{name}': {SERVER_NAME} does not offer {feature}; leave it out")


def require_input(name: str, datatype: str) -> None:
    """Raise `InvalidRequestError` unless the protocol has an input `name` of `datatype`."""
    expected = INPUTS.get(name)
    if expected is None:
        raise InvalidRequestError(f"there is no input '{name}'; give '{PANEL}' or '{SYMBOLS}'")
    if datatype != expected:
        raise InvalidRequestError(f"input '{name}' has datatype {datatype}; it is {expected}")


def require_supported_parameters(name: str, parameters: Container[str]) -> None:
    """Raise `NotOfferedError` for an input or output with a parameter that is not implemented."""
    for parameter, feature in UNSUPPORTED_TENSOR_PARAMETERS.items():
        if parameter in parameters:
            raise NotOfferedError(
                f"'{name}' has the parameter '{parameter}', and {SERVER_NAME} does not offer {feature}; "
                "send and read tensors with the message"
            )


def encode_same_bytes(texts: tuple[str, ...]) -> bytes:
    """Encode texts that consecutive answers repeat, as `encode_bytes` does; short ones are cached."""
    if len(texts) + sum(map(len, texts)) > MAX_CACHED_BYTES:
        return encode_bytes(texts)
    return _encode_same_bytes(texts)


@lru_cache(maxsize=64)
def _encode_same_bytes(texts: tuple[str, ...]) -> bytes:
    return encode_bytes(texts)


def encode_bytes(texts: Iterable[str]) -> bytes:
    """Encode texts as the raw content of a BYTES tensor."""
    return join_bytes(text.encode() for text in texts)


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """Join encoded elements to the raw content of a BYTES tensor."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def split_bytes(raw: bytes) -> Iterator[bytes]:
    """Yield the encoded elements of a BYTES tensor; raise `ValueError` where they do not fill `raw`."""
    position = 0
    while position < len(raw):
        if position + _LENGTH.size > len(raw):
            raise ValueError("it ends inside the length of an element")
        (length,) = _LENGTH.unpack_from(raw, position)
        position += _LENGTH.size + length
        if position > len(raw):
            raise ValueError("it ends inside an element")
        yield raw[position - length : position]


def decode_symbols(shape: Sequence[int], raw: bytes) -> tuple[str, ...]:
    """Decode the input `symbols`.

    Raises `InvalidRequestError` if shape and content disagree, there are too many, or a symbol occurs twice.
    """
    _require_vector(SYMBOLS, shape)
    require_symbol_count(shape[0])
    symbols = _decode_texts(SYMBOLS, shape[0], raw, MAX_NAME_BYTES)
    if len(set(symbols)) != len(symbols):
        raise InvalidRequestError(f"symbol '{_first_repeated(symbols)}' is asked for twice")
    return symbols


def decode_route_keys(shape: Sequence[int], raw: bytes) -> tuple[str, ...]:
    """Decode the input `route_key`. Raises as `decode_symbols` does."""
    _require_vector(ROUTE_KEY, shape)
    require_route_key_count(shape[0])
    # A character of UTF-8 has at most four bytes.
    texts = _decode_texts(ROUTE_KEY, shape[0], raw, 4 * MAX_ROUTE_KEY_CHARACTERS)
    keys = tuple(_route_key("input 'route_key'", text) for text in texts)
    if len(set(keys)) != len(keys):
        raise InvalidRequestError(f"route key {abbreviate(_first_repeated(keys))} is given twice")
    return keys


def _require_vector(name: str, shape: Sequence[int]) -> None:
    if len(shape) != 1 or shape[0] < 1:
        raise InvalidRequestError(f"input '{name}' has shape {list(shape)}; it is [n] with n of at least 1")


def _decode_texts(name: str, count: int, raw: bytes, max_bytes: int) -> tuple[str, ...]:
    """Decode the texts of a BYTES tensor of `count` elements of at most `max_bytes`."""
    decode = _decode_same_texts if len(raw) <= MAX_CACHED_BYTES else _decode_each_text
    return decode(name, count, raw, max_bytes)


def _decode_each_text(name: str, count: int, raw: bytes, max_bytes: int) -> tuple[str, ...]:
    texts: list[str] = []
    try:
        for element in split_bytes(raw):
            if len(element) > max_bytes:
                raise InvalidRequestError(
                    f"input '{name}' has a name of {len(element)} bytes; one has at most {max_bytes}"
                )
            if len(texts) == count:
                raise InvalidRequestError(
                    f"input '{name}' has more than {count} elements, its shape says {count}"
                )
            texts.append(element.decode())
    except ValueError as error:
        raise InvalidRequestError(f"input '{name}' cannot be read: {error}") from error
    if len(texts) != count:
        raise InvalidRequestError(f"input '{name}' has {len(texts)} elements, its shape says {count}")
    return tuple(texts)


# A client asks for the same symbols and route keys at each bar.
_decode_same_texts = lru_cache(maxsize=64)(_decode_each_text)


def _first_repeated(texts: Sequence[str]) -> str:
    seen: set[str] = set()
    return next(text for text in texts if text in seen or seen.add(text))  # type: ignore[func-returns-value]


def decode_panel(shape: Sequence[int], raw: bytes) -> Panel:
    """Decode raw content into a float32 panel.

    Raises `InvalidRequestError` if shape and length disagree, or the panel is too large.
    """
    elements = _elements(shape)
    if len(raw) != 4 * elements:
        needed = f"shape {list(shape)} needs {4 * elements}"
        raise InvalidRequestError(f"input 'panel' has {len(raw)} bytes; {needed}")
    require_panel_size(shape, elements)
    return np.frombuffer(raw, dtype="<f4").reshape(shape)


def require_panel(shape: Sequence[int]) -> int:
    """Return the number of values in a panel of `shape`.

    Raises `InvalidRequestError` for a shape that no panel may have.
    """
    elements = _elements(shape)
    require_panel_size(shape, elements)
    return elements


def _elements(shape: Sequence[int]) -> int:
    if len(shape) != 3 or any(length < 1 for length in shape):
        raise InvalidRequestError(
            f"input 'panel' has shape {abbreviate(list(shape))}; it is [symbols, lookback, features]"
        )
    return math.prod(shape)


def is_complete(panel: Panel) -> bool:
    """Return whether a client's `panel` has no missing value.

    NaN marks a missing value and masks its symbol. Infinity has no meaning and raises `InvalidRequestError`.
    """
    if np.isfinite(panel).all():
        return True
    infinite = np.isinf(panel)
    if infinite.any():
        position = [int(index) for index in np.argwhere(infinite)[0]]
        raise InvalidRequestError(f"input 'panel' is infinite at {position}; send NaN for a missing value")
    return False


def _outputs(requested: Iterable[str], default: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(requested)
    if not names:
        return default
    for name in names:
        if name not in OUTPUTS:
            raise InvalidRequestError(f"there is no output '{name}'; there are {', '.join(OUTPUTS)}")
    if len(set(names)) != len(names):
        raise InvalidRequestError(f"an output is asked for twice: {', '.join(names)}")
    return names


def _moment(value: Parameter) -> datetime | None:
    if value is None:
        return None
    try:
        return as_utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError) as error:
        raise InvalidRequestError(
            f"parameter 'as_of' is {abbreviate(value)}; give an ISO 8601 time with zone"
        ) from error


def _route_key(where: str, value: Parameter) -> str:
    key = _text(where, value)
    if len(key) > MAX_ROUTE_KEY_CHARACTERS:
        raise InvalidRequestError(
            f"{where} has {len(key)} characters; it has at most {MAX_ROUTE_KEY_CHARACTERS}"
        )
    return key


def _text(name: str, value: Parameter) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} is {abbreviate(value)}; it is a text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            # JSON can write half of a surrogate pair, which neither the log nor gRPC can hold.
            raise InvalidRequestError(f"{name} is {value!r}, which is not Unicode; it is a text") from error
    return value


def _whole(name: str, value: Parameter) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INT64:
        raise InvalidRequestError(
            f"parameter '{name}' is {abbreviate(value)}; it is a whole number from 0 to {MAX_INT64}"
        )
    return value
