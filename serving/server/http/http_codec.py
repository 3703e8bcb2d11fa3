"""JSON of the protocol, and its extension for binary tensor data.

With the header `Inference-Header-Content-Length` a body is JSON of that many bytes, followed by the content
of each tensor that has the parameter `binary_data_size`, in order. A score that is NaN is `null` in JSON.

Specification: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from serving.protocol.messages import (
    ANSWER,
    FLOAT,
    OUTPUTS,
    SCORES,
    InferenceRequest,
    InferenceResponse,
    InvalidRequestError,
    abbreviate,
)
from serving.protocol.request_limits import LARGE_BYTES
from serving.protocol.tensors import (
    MAX_INT64,
    Parameter,
    Tensor,
    join_bytes,
    read_request,
    require_input,
    require_panel,
    require_supported_parameters,
)
from serving.server.grpc.grpc_codec import raw_output
from serving.server.http.json_numbers import UnparsedNumbers, nesting_error, parse_large_json, to_float32

BINARY_SIZE = "binary_data_size"
# Maximum number of digits of a length; more than any body needs.
MAX_LENGTH_DIGITS = 20
# Values that are written at a time: a single call that writes many would block the other threads.
PIECE_VALUES = 4_096
BINARY_HINT = (
    "; where binary data follow the JSON, give the length of the JSON in the header "
    "Inference-Header-Content-Length"
)


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """Decoded request, and the outputs to return as binary data."""

    request: InferenceRequest
    binary: frozenset[str]


def decode_infer(body: bytes, header_length: str | None, model: str, version: str) -> DecodedRequest:
    """Decode a request's body; raises `InvalidRequestError` if it cannot be answered."""
    head, rest = _split(body, header_length)
    parameters = read_json_parameters(head)
    outputs = _objects(head, "outputs")
    names = [_named(output, "outputs") for output in outputs]
    for name, output in zip(names, outputs, strict=True):
        require_supported_parameters(name, read_json_parameters(output))
    by_default = parameters.get("binary_data_output") is True
    binary = [
        name
        for name, output in zip(names, outputs, strict=True)
        if read_json_parameters(output).get("binary_data", by_default) is True
    ]
    request = read_request(
        model,
        version,
        _text("" if head.get("id") is None else head["id"], "id"),
        _tensors(head, rest),
        parameters,
        names,
    )
    return DecodedRequest(request, frozenset(binary if names else request.outputs if by_default else ()))


def encode_infer(response: InferenceResponse, decoded: DecodedRequest) -> tuple[bytes, int | None]:
    """Encode the answer's body, with the length of its JSON part.

    The length is None if no binary data follow the JSON.
    """
    outputs: list[str] = []
    contents: list[bytes] = []
    for name in decoded.request.outputs:
        output: dict[str, Any] = {
            "name": name,
            "datatype": OUTPUTS[name],
            "shape": response.shape(name),
        }
        if name in decoded.binary:
            contents.append(raw_output(response, name))
            output["parameters"] = {BINARY_SIZE: len(contents[-1])}
            outputs.append(json.dumps(output))
        else:
            outputs.append(_with_member(output, "data", _list_to_json(_data(response, name))))
    head = {
        "model_name": response.model,
        "model_version": response.version,
        **({"id": response.id} if response.id else {}),
        "parameters": response.parameters,
    }
    text = _with_member(head, "outputs", f"[{', '.join(outputs)}]").encode()
    return b"".join([text, *contents]), len(text) if contents else None


def _with_member(content: dict[str, Any], name: str, value: str) -> str:
    """Add a member, whose value is JSON already, to the JSON of an object."""
    return f'{json.dumps(content, allow_nan=False)[:-1]}, "{name}": {value}}}'


def _list_to_json(values: list[Any]) -> str:
    """Encode a list as JSON, in pieces."""
    pieces = (values[at : at + PIECE_VALUES] for at in range(0, len(values), PIECE_VALUES))
    return f"[{', '.join(json.dumps(piece, allow_nan=False)[1:-1] for piece in pieces)}]"


def message_to_jsonable(message: Any) -> dict[str, Any]:
    """Convert a protobuf message to JSON values.

    Numbers stay numbers, while protobuf's own writer makes texts of int64.
    """
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            values[field.name] = {
                key: _value_to_jsonable(field.message_type.fields[1], value[key]) for key in value
            }
        elif isinstance(value, str | bytes | int | float):
            values[field.name] = _value_to_jsonable(field, value)
        elif hasattr(value, "DESCRIPTOR"):
            if message.HasField(field.name):
                values[field.name] = message_to_jsonable(value)
        else:
            values[field.name] = [_value_to_jsonable(field, item) for item in value]
    return values


def _value_to_jsonable(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return message_to_jsonable(value)
    return field.enum_type.values_by_number[value].name if field.enum_type is not None else value


def parse_object(body: bytes) -> dict[str, Any]:
    """Parse a body as a JSON object, empty for an empty body; raises `InvalidRequestError` otherwise."""
    if not body.strip():
        return {}
    try:
        content = parse_large_json(body) if len(body) > LARGE_BYTES else json.loads(body)
    except ValueError as error:
        hint = BINARY_HINT if BINARY_SIZE.encode() in body[:LARGE_BYTES] else ""
        raise InvalidRequestError(f"the body is not JSON: {error}{hint}") from error
    except RecursionError as error:
        raise InvalidRequestError("the body is not JSON as it is read here: it nests too deeply") from error
    if not isinstance(content, dict):
        raise InvalidRequestError(
            f"the body is a JSON {_JSON_NAMES.get(type(content), 'null')}; it is an object"
        )
    return content


def read_json_parameters(item: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters of a request or a tensor, without those that are null."""
    parameters = item.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"'parameters' is {abbreviate(parameters)}; it is an object")
    return {name: value for name, value in parameters.items() if value is not None}


_JSON_NAMES = {list: "list", str: "text", int: "number", float: "number", bool: "boolean"}


def _split(body: bytes, header_length: str | None) -> tuple[dict[str, Any], bytes]:
    if header_length is None:
        return parse_object(body), b""
    digits = header_length if header_length.isascii() and header_length.isdigit() else ""
    if not 0 < len(digits) <= MAX_LENGTH_DIGITS or int(digits) > len(body):
        raise InvalidRequestError(
            f"Inference-Header-Content-Length is {header_length[:40]!r}; the body has {len(body)} bytes"
        )
    edge = int(digits)
    return parse_object(body[:edge]), body[edge:]


def _tensors(head: Mapping[str, Any], rest: bytes) -> list[Tensor]:
    tensors, position = [], 0
    for item in _objects(head, "inputs"):
        name, datatype = _named(item, "inputs"), _text(item.get("datatype", ""), "datatype")
        require_input(name, datatype)
        require_supported_parameters(name, read_json_parameters(item))
        size, shape = read_json_parameters(item).get(BINARY_SIZE), _shape(name, item.get("shape"))
        if size is None:
            content = _content(name, datatype, item.get("data"), shape)
        else:
            if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest) - position:
                raise InvalidRequestError(
                    f"input '{name}' has {BINARY_SIZE} {abbreviate(size)}; "
                    f"{len(rest) - position} bytes are left"
                    f"{'' if rest else BINARY_HINT}"
                )
            if item.get("data") is not None:
                raise InvalidRequestError(f"input '{name}' has data and {BINARY_SIZE}; send one of them")
            content = rest[position : position + size]
            position += size
        tensors.append(Tensor(name, datatype, shape, content))
    if position != len(rest):
        raise InvalidRequestError(f"{len(rest) - position} bytes of the body belong to no input")
    return tensors


def _content(name: str, datatype: str, data: Any, shape: Sequence[int]) -> bytes:
    if isinstance(data, UnparsedNumbers) and datatype == FLOAT:
        return data.read(name, shape, require_panel(shape)).tobytes()
    if isinstance(data, UnparsedNumbers):
        raise InvalidRequestError(f"input '{name}' holds numbers; it holds texts")
    if not isinstance(data, list):
        raise InvalidRequestError(f"input '{name}' has no list 'data' and no {BINARY_SIZE}")
    flat = _flat(name, data, shape)
    if datatype == FLOAT:
        return to_float32(name, flat).tobytes()
    try:
        return join_bytes(_text(text, name).encode() for text in flat)
    except UnicodeEncodeError as error:
        raise InvalidRequestError(f"input '{name}' holds a text that is not Unicode: {error}") from error


def _flat(name: str, data: list[Any], shape: Sequence[int]) -> list[Any]:
    """Flatten `data` in row-major order.

    The lists nest as `shape`, or are one list of all values.
    """
    if not any(isinstance(item, list) for item in data):
        return data
    lists = [data]
    for length in shape:
        if not all(isinstance(item, list) and len(item) == length for item in lists):
            raise nesting_error(name, shape)
        lists = list(chain.from_iterable(lists))
    if any(isinstance(item, list) for item in lists):
        raise nesting_error(name, shape)
    return lists


def _shape(name: str, shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list) or not all(
        isinstance(length, int) and not isinstance(length, bool) and abs(length) <= MAX_INT64
        for length in shape
    ):
        raise InvalidRequestError(
            f"input '{name}' has shape {abbreviate(shape)}; it is a list of whole numbers of at most 64 bits"
        )
    return tuple(shape)


def _objects(head: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    objects = head.get(name)
    if objects is None:
        return []
    if not isinstance(objects, list) or not all(isinstance(item, dict) for item in objects):
        raise InvalidRequestError(f"'{name}' is {abbreviate(objects)}; it is a list of objects")
    return objects


def _named(item: Mapping[str, Any], where: str) -> str:
    return _text(item.get("name"), f"name in {where}")


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise InvalidRequestError(f"'{name}' is {abbreviate(value)}; it is a text")
    return value


def _data(response: InferenceResponse, name: str) -> list[Any]:
    if name == SCORES:
        return [value if math.isfinite(value) else None for value in response.scores.ravel().tolist()]
    if name == ANSWER:
        return list(response.answer_of)
    return [str(value) for value in response.texts(name)]
