"""Tensors in the protocol's binary form, row-major and little-endian, and requests read from them."""

from __future__ import annotations

import math
import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from alphaloop.clock import as_utc
from serving.protocol.errors import NotOfferedError
from serving.protocol.messages import (
    INPUTS,
    OUTPUTS,
    PANEL,
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
    if len(tensors) != 1:
        raise InvalidRequestError(f"give one input, '{PANEL}' or '{SYMBOLS}', not {len(tensors)}")
    (tensor,) = tensors
    by_symbols = tensor.name == SYMBOLS
    as_of = _moment(parameters.get("as_of"))
    symbols = decode_bytes(tensor.shape, tensor.raw) if by_symbols else None
    if by_symbols and as_of is None:
        raise InvalidRequestError(
            "a request by symbols needs the parameter 'as_of', an ISO 8601 time with zone"
        )
    return InferenceRequest(
        model=model,
        version=version,
        id=_text("'id'", id),
        panel=None if by_symbols else decode_panel(tensor.shape, tensor.raw),
        symbols=symbols,
        as_of=as_of,
        route_key=_route_key(parameters.get("route_key", "")),
        min_generation=_whole("min_generation", parameters.get("min_generation", 0)),
        outputs=_outputs(outputs),
        timeout=_whole("timeout", parameters.get("timeout", 0)) / 1e6 or None,
    )


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


def encode_bytes(texts: Iterable[str]) -> bytes:
    """Encode texts as the raw content of a BYTES tensor."""
    return join_bytes(text.encode() for text in texts)


def join_bytes(elements: Iterable[bytes]) -> bytes:
    """Join encoded elements to the raw content of a BYTES tensor."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def decode_bytes(shape: Sequence[int], raw: bytes) -> tuple[str, ...]:
    """Decode the texts of a BYTES tensor.

    Raises `InvalidRequestError` if shape and content disagree, or a symbol occurs twice.
    """
    if len(shape) != 1 or shape[0] < 1:
        raise InvalidRequestError(f"input 'symbols' has shape {list(shape)}; it is [n] with n of at least 1")
    require_symbol_count(shape[0])
    texts: list[str] = []
    position = 0
    try:
        while position < len(raw) and len(texts) <= shape[0]:
            (length,) = _LENGTH.unpack_from(raw, position)
            position += 4 + length
            if position > len(raw):
                raise InvalidRequestError("input 'symbols' ends inside an element")
            if length > MAX_NAME_BYTES:
                raise InvalidRequestError(
                    f"input 'symbols' has a name of {length} bytes; one has at most {MAX_NAME_BYTES}"
                )
            texts.append(raw[position - length : position].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise InvalidRequestError(f"input 'symbols' cannot be read: {error}") from error
    if len(texts) != shape[0]:
        count = f"{len(texts)}" if position == len(raw) else f"more than {shape[0]}"
        raise InvalidRequestError(f"input 'symbols' has {count} elements, its shape says {shape[0]}")
    if len(set(texts)) != len(texts):
        seen: set[str] = set()
        twice = next(text for text in texts if text in seen or seen.add(text))  # type: ignore[func-returns-value]
        raise InvalidRequestError(f"symbol '{twice}' is asked for twice")
    return tuple(texts)


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


def _outputs(requested: Iterable[str]) -> tuple[str, ...]:
    names = tuple(requested)
    if not names:
        return tuple(OUTPUTS)
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


def _route_key(value: Parameter) -> str:
    key = _text("parameter 'route_key'", value)
    if len(key) > MAX_ROUTE_KEY_CHARACTERS:
        raise InvalidRequestError(
            f"parameter 'route_key' has {len(key)} characters; it has at most {MAX_ROUTE_KEY_CHARACTERS}"
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
